"""What `Trainer` asks of a network and of whatever deals it batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from metarec_sdk.backbones.windows import Batch
from metarec_sdk.types import Histories

Drop = Callable[[Tensor], Tensor]
"""Dropout of a tensor of any shape; `dropout.keep_all` where nothing is to be dropped."""


class Network(Protocol):
    """A ``torch.nn.Module`` whose outputs rank the items of a catalogue by inner product."""

    def table(self) -> Tensor:
        """[n, d], what queries are multiplied with; gradients flow through it."""

    def states(self, batch: Batch, drop: Drop) -> Tensor:
        """[b, t, d] on the device of the parameters; column j is judged by ``batch.targets[:, j]``."""

    def encode(self, histories: Histories) -> Tensor:
        """[b, d], the queries after rows of at most history_limit events, without gradients."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is trained."""

    def state_dict(self) -> Mapping[str, Any]:
        """The parameters by name."""

    def load_state_dict(self, state: Mapping[str, Any]) -> Any:
        """Take back what `state_dict` gave."""


class Sampler(Protocol):
    """Deals the batches of a training set; `windows.WindowSampler` is one."""

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The batches of one epoch."""

    def n_batches(self) -> int:
        """Batches of an epoch, at least roughly: the learning rate and the progress bar go by it."""
