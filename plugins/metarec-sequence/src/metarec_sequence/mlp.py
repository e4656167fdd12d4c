"""``sequence/mlp``: a feed-forward network over a pooled history.

The candidate generator of Covington, Adams & Sargin, RecSys 2016: the mean of the history's embeddings
through layers of rectified units to a query, full softmax over the items. The last item stands beside the
mean, as in the STMP model of Liu et al., KDD 2018; order reaches the network in no other way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metarec_sdk.backbones.dropout import keep_all
from metarec_sdk.backbones.network import Drop
from metarec_sequence.arguments import check_counts
from metarec_sequence.backbone import SequenceBackbone
from metarec_sequence.network import CausalNetwork


class PooledNetwork(CausalNetwork):
    """[mean of the history, last item] -> layers of rectified units -> query."""

    def __init__(self, n_items: int, width: int, hidden: int, layers: int) -> None:
        super().__init__(n_items, width)
        self.start = nn.Parameter(torch.empty(width))
        sizes = [2 * width, *[hidden] * layers]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.output = nn.Linear(hidden, width)

    def forward(self, items: Tensor, timestamps: Tensor, drop: Drop = keep_all) -> Tensor:
        """[b, l] -> [b, l + 1, d]; times aren't read. The start vector is the last item of nobody."""
        embedded = F.embedding(items, self.items) * math.sqrt(self.width)  # [b, l, d]
        start = self.start.expand(len(items), 1, self.width) * math.sqrt(self.width)
        last = torch.cat([start, embedded], dim=1)  # [b, l + 1, d]
        count = torch.arange(1, last.shape[1] + 1, device=last.device, dtype=last.dtype)
        mean = last.cumsum(1) / count[:, None]  # the start vector counts as one event
        x = drop(torch.cat([mean, last], dim=-1))  # [b, l + 1, 2 d]
        for layer in self.layers:
            x = drop(F.relu(layer(x)))
        queries: Tensor = self.output(x)
        return queries


@dataclass(kw_only=True, eq=False)
class PooledMLP(SequenceBackbone):
    """Mean and last item through a feed-forward network: the cheapest of the five to train."""

    hidden: int = 128
    """Width of the hidden layers."""
    layers: int = 1
    """Hidden layers."""

    name: ClassVar[str] = "sequence/mlp"

    def __post_init__(self) -> None:
        """Raises `ArgumentError` for an argument out of range."""
        super().__post_init__()
        check_counts(hidden=self.hidden, layers=self.layers)

    def network(self, n_items: int) -> PooledNetwork:
        """Mean and last item, hidden layers, linear."""
        return PooledNetwork(n_items, self.width, self.hidden, self.layers)
