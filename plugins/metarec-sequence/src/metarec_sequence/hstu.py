"""``sequence/hstu``: hierarchical sequential transduction units.

Zhai et al., ICML 2024 (arXiv:2402.17152). A layer is, with φ = SiLU and elementwise ⊙:

    U, V, Q, K = split(φ(f₁(norm(x))))                                   pointwise projection
    A(x) = φ(Q Kᵀ + rab^{p,t}) / N, causal                               pointwise aggregated attention
    y = x + f₂(norm(A(x) V) ⊙ U)                                         pointwise transformation

No softmax: a strong interest keeps its strength however many others there are. rab^{p,t} is a learned bias
for the distance in positions and one for the logarithm of the time between; N is the longest row that is
read. Queries and items are scaled to unit length and divided by a temperature, as in the paper's experiments.

One departure: the time bias of a query looks from its latest event, where the published code looks from the
event to be predicted, whose time nobody knows when serving.
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
from metarec_sequence.arguments import check_counts, check_multiple, check_range
from metarec_sequence.backbone import SequenceBackbone
from metarec_sequence.network import CausalNetwork

TIME_BUCKETS = 64
"""Bucket of a time difference of s seconds: ⌊log₂ max(s, 1)⌋, which is 63 at most."""

_MICROSECONDS = 1_000_000


class HSTULayer(nn.Module):
    """One unit of ``heads`` heads of width d / heads for each of U, V, Q and K."""

    def __init__(self, width: int, heads: int, rows: int, time_bias: bool) -> None:
        super().__init__()
        self.width, self.heads, self.rows = width, heads, rows
        self.project = nn.Linear(width, 4 * width)
        self.output = nn.Linear(width, width)
        self.position_bias = nn.Parameter(torch.empty(rows))
        self.time_bias = nn.Parameter(torch.empty(TIME_BUCKETS)) if time_bias else None

    def forward(self, x: Tensor, buckets: Tensor | None, drop: Drop) -> Tensor:
        """x [b, t, d], buckets int64[b, t, t] of the time differences or None -> [b, t, d], causal."""
        b, t, d = x.shape
        u, v, q, k = F.silu(self.project(F.layer_norm(x, (d,)))).chunk(4, dim=-1)
        q, k, v = (part.view(b, t, self.heads, -1).transpose(1, 2) for part in (q, k, v))  # [b, heads, t, ·]
        place = torch.arange(t, device=x.device)
        distance = place[:, None] - place  # [t, t]
        bias = self.position_bias[distance.clamp(min=0)]
        if buckets is not None and self.time_bias is not None:
            bias = (bias + self.time_bias[buckets])[:, None]  # [b, 1, t, t]
        attention = F.silu(q @ k.transpose(-1, -2) + bias) / self.rows
        context = attention.masked_fill(distance < 0, 0.0) @ v  # [b, heads, t, ·]
        context = F.layer_norm(context.transpose(1, 2).reshape(b, t, d), (d,))
        return x + self.output(drop(context * u))  # type: ignore[no-any-return]


class HSTUNetwork(CausalNetwork):
    """Start token and items with learned positions, a stack of units, unit length."""

    def __init__(
        self,
        n_items: int,
        width: int,
        blocks: int,
        heads: int,
        history_limit: int,
        time_bias: bool,
        temperature: float,
    ) -> None:
        super().__init__(n_items, width)
        self.temperature, self.time_bias = temperature, time_bias
        self.start = nn.Parameter(torch.empty(width))
        self.positions = nn.Parameter(torch.empty(history_limit + 1, width))
        self.blocks = nn.ModuleList(
            HSTULayer(width, heads, history_limit + 1, time_bias) for _ in range(blocks)
        )

    def draw(self, name: str, parameter: Tensor, generator: torch.Generator) -> None:
        """The biases of position and time as Normal(0, 0.02), the rest as everywhere."""
        if name.endswith(("position_bias", "time_bias")):
            parameter.normal_(0.0, 0.02, generator=generator)
        else:
            super().draw(name, parameter, generator)

    def table(self) -> Tensor:
        """[n, d], rows of length 1 / temperature."""
        return F.normalize(self.items, dim=-1) / self.temperature

    def forward(self, items: Tensor, timestamps: Tensor, drop: Drop = keep_all) -> Tensor:
        """[b, l] -> [b, l + 1, d], rows of length 1."""
        start = self.start.expand(len(items), 1, self.width)
        x = torch.cat([start, F.embedding(items, self.items)], dim=1) * math.sqrt(self.width)
        x = drop(x + self.positions[: x.shape[1]])  # [b, l + 1, d]
        buckets = time_buckets(timestamps) if self.time_bias else None
        for block in self.blocks:
            x = block(x, buckets, drop)
        return F.normalize(x, dim=-1)


def time_buckets(timestamps: Tensor) -> Tensor:
    """int64[b, l + 1, l + 1] from int64[b, l] µs: the bucket of the time from key (last axis) to query.

    The start token has the time of the first event. Keys after the query are in bucket 0.
    """
    if timestamps.shape[1] == 0:
        return timestamps.new_zeros(len(timestamps), 1, 1)
    times = torch.cat([timestamps[:, :1], timestamps], dim=1)  # [b, l + 1]
    seconds = (times[:, :, None] - times[:, None, :]) // _MICROSECONDS
    return torch.log2(seconds.clamp(min=1).double()).long()


@dataclass(kw_only=True, eq=False)
class HSTU(SequenceBackbone):
    """Attention without softmax that knows how far apart events are, in steps and in time."""

    blocks: int = 2
    """Stacked units."""
    heads: int = 2
    """Attention heads; ``width`` is a multiple of them."""
    time_bias: bool = True
    """Whether the time between events counts; False where the log's times mean nothing."""
    temperature: float = 0.05
    """Divides the cosine of query and item, above 0."""

    name: ClassVar[str] = "sequence/hstu"

    def __post_init__(self) -> None:
        """Raises `ArgumentError` for an argument out of range."""
        super().__post_init__()
        check_counts(blocks=self.blocks, heads=self.heads)
        check_multiple("width", self.width, "heads", self.heads)
        check_range("temperature", self.temperature, 0.0, 100.0, above=True)

    def network(self, n_items: int) -> HSTUNetwork:
        """A stack of units between the item table and unit length."""
        return HSTUNetwork(
            n_items, self.width, self.blocks, self.heads, self.history_limit, self.time_bias, self.temperature
        )
