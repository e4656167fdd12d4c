"""Task adapters inside the model, and a network that gives each row of a batch its own.

The SDK's trainer deals out histories and knows nothing of tasks, so the task of a row travels in its
timestamps, which the network doesn't read: t + 1 for task t, 0 for none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from metarec_sdk.adapters.adapted_linear import AdaptedLayer
from metarec_sdk.adapters.attach import AttachedAdapters, attach_adapters
from metarec_sdk.backbones.network import Drop
from metarec_sdk.backbones.windows import Batch
from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import Histories, Int32
from metarec_transformers.network import HistoryNetwork


def attach(network: HistoryNetwork, *, n_tasks: int, rank: int, seed: int) -> None:
    """New adapters in every linear layer of the body, in the place of those that are there."""
    detach(network)
    device = network.items.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network.adapters = attach_adapters(network.body, ["*"], tasks=n_tasks, rank=rank)


def detach(network: HistoryNetwork) -> None:
    """Take the adapters out, if there are any."""
    if network.adapters is not None:
        network.adapters.detach()
        network.adapters = None


def tagged(histories: Histories, tasks: Int32, n_tasks: int) -> Histories:
    """The histories with their tasks i32[b] for timestamps.

    Raises `ArgumentError` for another number of tasks than rows, or one outside -1 … n_tasks - 1.
    """
    if tasks.shape != (len(histories),):
        raise ArgumentError(f"tasks must be i32[{len(histories)}], one a history, got {tasks.shape}")
    if len(tasks) and (tasks.min() < -1 or tasks.max() >= n_tasks):
        raise ArgumentError(
            f"tasks must be in -1 … {n_tasks - 1}, got {tasks.min()} … {tasks.max()}; adapt() makes adapters"
        )
    return replace(histories, timestamps=np.repeat(tasks.astype(np.int64) + 1, histories.lengths))


class TaskNetwork:
    """A `metarec_sdk.backbones.network.Network` whose parameters are the adapters of the one within."""

    def __init__(self, network: HistoryNetwork) -> None:
        self._network = network

    @property
    def n_tasks(self) -> int:
        """T; 0 without adapters."""
        adapters = self._network.adapters
        return 0 if adapters is None else adapters.n_tasks

    def table(self) -> Tensor:
        """[n, d]."""
        return self._network.table()

    def states(self, batch: Batch, drop: Drop) -> Tensor:
        """[b, l + 1, d]; a batch whose rows have a single target has no timestamps, and so no tasks."""
        with self._adapters().assign(self._tasks(batch.timestamps.max(axis=1, initial=0))):
            return self._network.states(batch, drop)

    def encode(self, histories: Histories) -> Tensor:
        """[b, d]."""
        tags = np.zeros(len(histories), np.int64)
        some = histories.lengths > 0
        tags[some] = histories.timestamps[histories.offsets[:-1][some]]
        if not tags.any():
            return self._network.encode(histories)
        with self._adapters().assign(self._tasks(tags)):
            return self._network.encode(histories)

    def parameters(self) -> Iterator[nn.Parameter]:
        """All A and B."""
        return iter(self._adapters().parameters())

    def state_dict(self) -> dict[str, Tensor]:
        """A and B of each layer by name."""
        return adapter_tensors(self._adapters())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        with torch.no_grad():
            for name, parameter in self.state_dict().items():
                parameter.copy_(state[name])

    def _adapters(self) -> AttachedAdapters:
        adapters = self._network.adapters
        assert adapters is not None
        return adapters

    def _tasks(self, tags: np.ndarray) -> Tensor:
        return torch.from_numpy(tags - 1).to(self._network.items.device)


def adapter_tensors(adapters: AttachedAdapters) -> dict[str, Tensor]:
    """``<layer>.a`` [T, r, d_in] and ``<layer>.b`` [T, d_out, r] of every layer."""
    layers: dict[str, AdaptedLayer] = adapters.layers
    return {f"{name}.a": layer.adapter.a for name, layer in layers.items()} | {
        f"{name}.b": layer.adapter.b for name, layer in layers.items()
    }
