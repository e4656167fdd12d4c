"""``sequence/gru4rec``: gated recurrent units over the history.

Hidasi et al., ICLR 2016 (arXiv:1511.06939), with two later findings: the output shares the item table, which
its authors' code calls constrained embeddings, and the loss is the softmax over all items (Klenitskiy &
Vasilev, RecSys 2023, arXiv:2309.07602). Windows of histories replace session-parallel mini-batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metarec_sdk.backbones.dropout import keep_all
from metarec_sdk.backbones.network import Drop
from metarec_sequence.arguments import check_counts
from metarec_sequence.backbone import SequenceBackbone
from metarec_sequence.network import CausalNetwork


class GRU4RecNetwork(CausalNetwork):
    """Start vector and item embeddings -> GRU layers -> a linear layer back to the width of the table."""

    def __init__(self, n_items: int, width: int, hidden: int, layers: int) -> None:
        super().__init__(n_items, width)
        self.start = nn.Parameter(torch.empty(width))
        self.recurrent = nn.GRU(width, hidden, layers, batch_first=True)
        self.output = nn.Linear(hidden, width)

    def draw(self, name: str, parameter: Tensor, generator: torch.Generator) -> None:
        """Weights and biases of the recurrence uniform within ±1/√hidden, as torch draws them."""
        if name.startswith("recurrent."):
            bound = 1.0 / math.sqrt(self.recurrent.hidden_size)
            parameter.uniform_(-bound, bound, generator=generator)
        else:
            super().draw(name, parameter, generator)

    def forward(self, items: Tensor, timestamps: Tensor, drop: Drop = keep_all) -> Tensor:
        """[b, l] -> [b, l + 1, d]; times aren't read."""
        start = self.start.expand(len(items), 1, self.width)
        x = torch.cat([start, F.embedding(items, self.items)], dim=1) * math.sqrt(self.width)
        states, _ = self.recurrent(drop(x))  # [b, l + 1, hidden]
        queries: Tensor = self.output(drop(states))
        return queries


@dataclass(kw_only=True, eq=False)
class GRU4Rec(SequenceBackbone):
    """A recurrent network, the lightest of the five to serve: a state a user, one step an event."""

    hidden: int = 128
    """Width of the recurrent state."""
    layers: int = 1
    """Recurrent layers."""

    name: ClassVar[str] = "sequence/gru4rec"

    def __post_init__(self) -> None:
        """Raises `ArgumentError` for an argument out of range."""
        super().__post_init__()
        check_counts(hidden=self.hidden, layers=self.layers)

    def network(self, n_items: int) -> GRU4RecNetwork:
        """Start vector, GRU, linear."""
        return GRU4RecNetwork(n_items, self.width, self.hidden, self.layers)
