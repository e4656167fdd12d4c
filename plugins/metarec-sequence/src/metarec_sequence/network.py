"""What the five networks have in common: an item table, and queries for batches and for ragged rows."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from metarec_sdk.backbones.dropout import keep_all
from metarec_sdk.backbones.network import Drop
from metarec_sdk.backbones.windows import Batch
from metarec_sdk.types import Histories, Int64


class SequenceNetwork(nn.Module, ABC):
    """A `metarec_sdk.backbones.network.Network` with parameters that wait for `initialise`."""

    def __init__(self, n_items: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.items = nn.Parameter(torch.empty(n_items, width))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Set every parameter: see `draw`."""
        for name, parameter in self.named_parameters():
            self.draw(name, parameter, generator)

    def draw(self, name: str, parameter: Tensor, generator: torch.Generator) -> None:
        """Glorot-normal matrices and filters, Normal(0, 0.02) tables, unit norms, zero biases."""
        if name.split(".")[-1] in ("items", "positions", "start", "mask"):
            parameter.normal_(0.0, 0.02, generator=generator)
        elif parameter.ndim >= 2:
            nn.init.xavier_normal_(parameter, generator=generator)
        elif name.endswith("norm.weight"):
            parameter.fill_(1.0)
        else:
            parameter.zero_()

    def table(self) -> Tensor:
        """[n, d], what queries are multiplied with."""
        return self.items

    @abstractmethod
    def states(self, batch: Batch, drop: Drop) -> Tensor:
        """[b, t, d], the queries of a training batch."""

    @abstractmethod
    def encode(self, histories: Histories) -> Tensor:
        """[b, d], the queries after rows of at most history_limit events."""


class CausalNetwork(SequenceNetwork):
    """Reads a row from left to right, so that one pass gives the query after every prefix."""

    @abstractmethod
    def forward(self, items: Tensor, timestamps: Tensor, drop: Drop = keep_all) -> Tensor:
        """int64[b, l] items, padded on the right with any item, and timestamps in µs -> [b, l + 1, d].

        Column j is the query after the first j events; it depends on nothing else.
        """

    def states(self, batch: Batch, drop: Drop) -> Tensor:
        """[b, l + 1, d]."""
        device = self.items.device
        inputs, timestamps = (torch.from_numpy(part).to(device) for part in (batch.inputs, batch.timestamps))
        states: Tensor = self(inputs, timestamps, drop)
        return states

    @torch.no_grad()
    def encode(self, histories: Histories) -> Tensor:
        """[b, d]."""
        device = self.items.device
        items, timestamps = (
            torch.from_numpy(padded(histories, values)).to(device)
            for values in (histories.items, histories.timestamps)
        )
        states = self(items, timestamps)  # [b, l + 1, d]
        rows = torch.arange(len(states), device=device)
        last: Tensor = states[rows, torch.from_numpy(histories.lengths).to(device)]
        return last


def padded(histories: Histories, values: np.ndarray, fill: int = 0) -> Int64:
    """i64[b, l] of one value an event, filled up on the right; l is the longest row's length."""
    lengths = histories.lengths
    real = np.arange(int(lengths.max(initial=0))) < lengths[:, None]  # [b, l]
    dense = np.full(real.shape, fill, np.int64)
    dense[real] = values
    return dense
