"""The network of SASRec: causal self-attention over a start token and the items of a history.

Kang & McAuley 2018 (arXiv:1808.09781) with pre-normalised residual blocks; the item table is tied with the
output. Positions are counted from the start token and rows are padded on the right, so that a history of k
events sees the same positions wherever it comes from, a causal mask is all that is needed, and what comes
later can't change what came before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metarec_sdk.backbones.dropout import keep_all
from metarec_sdk.backbones.network import Drop
from metarec_sdk.backbones.windows import Batch
from metarec_sdk.types import Histories

Delta = Callable[[str, Tensor], Tensor]


class Projection(nn.Linear):
    """A linear layer that waits for `SASRecModel.initialise`: torch's own draws from the global seed."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class Block(nn.Module):
    """Self-attention, then a position-wise feed-forward network, each added to its normalised input."""

    def __init__(self, width: int, feedforward: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = Projection(width, width)
        self.key_value = Projection(width, 2 * width)
        self.attention = Projection(width, width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.expand = Projection(width, feedforward)
        self.feedforward = Projection(feedforward, width)

    def forward(self, x: Tensor, drop: Drop) -> Tensor:
        """[b, l, d] -> [b, l, d], causal."""
        normed = self.attention_norm(x)
        context = self._attend(normed, normed, None)
        x = x + drop(self.attention(context))
        inner = F.gelu(self.expand(self.feedforward_norm(x)))  # [b, l, d_ff]
        return x + drop(self.feedforward(drop(inner)))

    def context_at(self, x: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """(attention context [b, d], residual [b, d]) at position ``last`` int64[b] of x [b, l, d] only."""
        normed = self.attention_norm(x)
        rows = torch.arange(len(x), device=x.device)
        visible = torch.arange(x.shape[1], device=x.device) <= last[:, None]  # [b, l]
        context = self._attend(normed[rows, last][:, None], normed, visible[:, None, None])
        return context[:, 0], x[rows, last]

    def _attend(self, queries: Tensor, normed: Tensor, visible: Tensor | None) -> Tensor:
        b, length, d = queries.shape
        query = self._split(self.query(queries))  # [b, heads, l, d / heads]
        key, value = (self._split(part) for part in self.key_value(normed).chunk(2, dim=-1))
        context = F.scaled_dot_product_attention(
            query, key, value, attn_mask=visible, is_causal=visible is None
        )
        return context.transpose(1, 2).reshape(b, length, d)

    def _split(self, x: Tensor) -> Tensor:
        b, length, d = x.shape
        return x.view(b, length, self.heads, d // self.heads).transpose(1, 2)


class SASRecModel(nn.Module):
    """The parameters of the backbone, unset at first; their names are those of the stored arrays."""

    def __init__(
        self, n_items: int, width: int, feedforward: int, blocks: int, heads: int, history_limit: int
    ) -> None:
        super().__init__()
        self.width = width
        self.items = nn.Parameter(torch.empty(n_items, width))
        self.start = nn.Parameter(torch.empty(width))
        self.positions = nn.Parameter(torch.empty(history_limit + 1, width))
        self.blocks = nn.ModuleList(Block(width, feedforward, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Normal(0, 0.02) tables, Glorot-normal projections, zero biases (Kang & McAuley's code)."""
        for name, parameter in self.named_parameters():
            if name in ("items", "start", "positions"):
                parameter.normal_(0.0, 0.02, generator=generator)
            elif parameter.ndim == 2:
                nn.init.xavier_normal_(parameter, generator=generator)
            elif name.endswith("norm.weight"):
                parameter.fill_(1.0)
            else:
                parameter.zero_()

    def forward(self, histories: Tensor, drop: Drop = keep_all) -> Tensor:
        """int64[b, l] of items, padded on the right with any item -> [b, l + 1, d].

        Position j is the query after the first j events.
        """
        x = self._embed(histories, drop)
        for block in self.blocks:
            x = block(x, drop)
        return self.norm(x)  # type: ignore[no-any-return]

    def table(self) -> Tensor:
        """[n, d]."""
        return self.items

    def states(self, batch: Batch, drop: Drop) -> Tensor:
        """[b, l + 1, d], the queries after each prefix of the rows."""
        return self(torch.from_numpy(batch.inputs).to(self.items.device), drop)  # type: ignore[no-any-return]

    @torch.no_grad()
    def encode(self, histories: Histories) -> Tensor:
        """Queries [b, d] of ragged rows of at most history_limit events, without adapters."""
        return self.finish(last_inputs(self, histories), no_delta)

    def last_inputs(self, histories: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """``context`` and ``residual`` [b, d] of the last block after ``lengths`` int64[b] events."""
        x = self._embed(histories, keep_all)
        for block in self.blocks[:-1]:
            x = block(x, keep_all)
        context, residual = self._last_block().context_at(x, lengths)
        return {"context": context, "residual": residual}

    def finish(self, inputs: Mapping[str, Tensor], delta: Delta) -> Tensor:
        """The rest of the network after `last_inputs`, with ``delta`` added to each site's projection.

        Computes on the device and in the dtype of the inputs, wherever the parameters are.
        """
        context, x = inputs["context"], inputs["residual"]
        block = self._last_block()
        x = x + _project(block.attention, context) + delta("attention", context)
        inner = F.gelu(_project(block.expand, _normalise(block.feedforward_norm, x)))  # [b, d_ff]
        x = x + _project(block.feedforward, inner) + delta("feedforward", inner)
        h = _normalise(self.norm, x)
        return h + delta("final", h)

    def _embed(self, histories: Tensor, drop: Drop) -> Tensor:
        b, length = histories.shape
        start = self.start.expand(b, 1, self.width)
        x = torch.cat([start, F.embedding(histories, self.items)], dim=1) * math.sqrt(self.width)
        return drop(x + self.positions[: length + 1])  # [b, l + 1, d]

    def _last_block(self) -> Block:
        block = self.blocks[-1]
        assert isinstance(block, Block)
        return block


@torch.no_grad()
def last_inputs(model: SASRecModel, histories: Histories) -> dict[str, Tensor]:
    """`SASRecModel.last_inputs` of ragged rows of at most history_limit events."""
    lengths = histories.lengths
    real = np.arange(int(lengths.max(initial=0))) < lengths[:, None]  # [b, l]
    padded = np.zeros(real.shape, np.int64)
    padded[real] = histories.items
    device = model.items.device
    return model.last_inputs(torch.from_numpy(padded).to(device), torch.from_numpy(lengths).to(device))


def no_delta(site: str, x: Tensor) -> Tensor:
    """The adapter that changes nothing."""
    return x.new_zeros(())


def _project(layer: nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight.to(x), layer.bias.to(x))


def _normalise(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], layer.weight.to(x), layer.bias.to(x), layer.eps)
