"""``sequence/bert4rec``: a bidirectional transformer that fills in masked items.

Sun et al., CIKM 2019 (arXiv:1904.06690): post-normalised blocks with GELU, the item table tied with the
output, items hidden at random in training and a mask after the history when serving. It needs many more
epochs than a causal network, since only the hidden items teach anything (Petrov & Macdonald, RecSys 2022,
arXiv:2207.07483).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metarec_sdk.backbones.dropout import keep_all
from metarec_sdk.backbones.network import Drop
from metarec_sdk.backbones.windows import Batch
from metarec_sdk.types import Histories
from metarec_sequence.arguments import check_counts, check_multiple, check_range
from metarec_sequence.backbone import SequenceBackbone
from metarec_sequence.masking import PADDING, MaskSampler
from metarec_sequence.network import SequenceNetwork, padded


class Block(nn.Module):
    """Self-attention in both directions, then a feed-forward network; each is added, then normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.feedforward = nn.Linear(4 * width, width)
        self.feedforward_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, visible: Tensor, drop: Drop) -> Tensor:
        """x [b, t, d], visible bool[b, 1, 1, t] -> [b, t, d]."""
        b, t, d = x.shape
        query, key, value = (
            part.view(b, t, self.heads, -1).transpose(1, 2)
            for part in self.query_key_value(x).chunk(3, dim=-1)
        )  # [b, heads, t, d / heads]
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        x = self.attention_norm(x + drop(self.attention(context.transpose(1, 2).reshape(b, t, d))))
        inner = F.gelu(self.expand(x))  # [b, t, 4 d]
        return self.feedforward_norm(x + drop(self.feedforward(inner)))  # type: ignore[no-any-return]


class BERT4RecNetwork(SequenceNetwork):
    """Item and position embeddings -> blocks -> GELU and normalisation before the tied table."""

    def __init__(self, n_items: int, width: int, blocks: int, heads: int, history_limit: int) -> None:
        super().__init__(n_items, width)
        self.mask = nn.Parameter(torch.empty(width))
        self.positions = nn.Parameter(torch.empty(history_limit + 1, width))
        self.embedding_norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.output = nn.Linear(width, width)
        self.output_norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, drop: Drop = keep_all) -> Tensor:
        """int64[b, t] of items, the mask (n) and `PADDING` -> [b, t, d]."""
        visible = (tokens != PADDING)[:, None, None]  # [b, 1, 1, t]
        embeddings = torch.cat([self.items, self.mask[None]])  # [n + 1, d]
        x = F.embedding(tokens.clamp(min=0), embeddings) + self.positions[: tokens.shape[1]]
        x = drop(self.embedding_norm(x))  # [b, t, d]
        for block in self.blocks:
            x = block(x, visible, drop)
        queries: Tensor = self.output_norm(F.gelu(self.output(x)))
        return queries

    def states(self, batch: Batch, drop: Drop) -> Tensor:
        """[b, t, d]; see `MaskSampler` for the batch."""
        states: Tensor = self(torch.from_numpy(batch.inputs).to(self.items.device), drop)
        return states

    @torch.no_grad()
    def encode(self, histories: Histories) -> Tensor:
        """[b, d], at a mask that follows the history."""
        device, lengths = self.items.device, histories.lengths
        tokens = np.pad(
            padded(histories, histories.items, PADDING), ((0, 0), (0, 1)), constant_values=PADDING
        )
        rows = np.arange(len(tokens))
        tokens[rows, lengths] = len(self.items)
        states = self(torch.from_numpy(tokens).to(device))  # [b, l + 1, d]
        last: Tensor = states[torch.from_numpy(rows).to(device), torch.from_numpy(lengths).to(device)]
        return last


@dataclass(kw_only=True, eq=False)
class BERT4Rec(SequenceBackbone):
    """Masked items, read in both directions; the slowest of the five to train."""

    blocks: int = 2
    """Transformer blocks."""
    heads: int = 2
    """Attention heads; ``width`` is a multiple of them."""
    epochs: int = 100
    """At most this many passes over the events."""
    patience: int = 15
    """Stop after this many epochs without a better validation NDCG@10."""
    mask_share: float = 0.3
    """Probability that an item is hidden; the paper has 0.2 for long histories and 0.6 for short ones."""
    last_share: float = 0.2
    """Share of the windows in which only the last item is hidden, as it is when serving."""

    name: ClassVar[str] = "sequence/bert4rec"

    def __post_init__(self) -> None:
        """Raises `ArgumentError` for an argument out of range."""
        super().__post_init__()
        check_counts(blocks=self.blocks, heads=self.heads)
        check_multiple("width", self.width, "heads", self.heads)
        check_range("mask_share", self.mask_share, 0.0, 1.0, above=True)
        check_range("last_share", self.last_share, 0.0, 1.0)

    def network(self, n_items: int) -> BERT4RecNetwork:
        """Embeddings, blocks, output layer."""
        return BERT4RecNetwork(n_items, self.width, self.blocks, self.heads, self.history_limit)

    def sampler(self, histories: Histories, n_items: int) -> MaskSampler:
        """Windows with hidden items."""
        windows = self.windows(histories)
        return MaskSampler(windows, n_items, mask_share=self.mask_share, last_share=self.last_share)
