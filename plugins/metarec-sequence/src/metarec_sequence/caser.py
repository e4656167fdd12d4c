"""``sequence/caser``: convolutions over the last items.

Tang & Wang, WSDM 2018 (arXiv:1809.07426). The last L embeddings of a user are an image [L, d]: horizontal
filters of each height 1 … L with max-pooling over time see unions of items, vertical filters see weighted
sums. Two departures: no user embedding, since a user may be new, and the output table is the item table
behind a linear map instead of a second table. The loss is the full softmax.
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


class CaserNetwork(CausalNetwork):
    """The image of the last L items, before which there are zeros, at every position at once."""

    def __init__(self, n_items: int, width: int, window: int, horizontal: int, vertical: int) -> None:
        super().__init__(n_items, width)
        self.window = window
        self.horizontal = nn.ModuleList(
            nn.Conv1d(width, horizontal, height) for height in range(1, window + 1)
        )
        self.vertical = nn.Parameter(torch.empty(vertical, window))
        self.joint = nn.Linear(horizontal * window + vertical * width, width)
        self.output = nn.Linear(width, width)

    def forward(self, items: Tensor, timestamps: Tensor, drop: Drop = keep_all) -> Tensor:
        """[b, l] -> [b, l + 1, d]; times aren't read.

        Column j sees the L rows j … j + L - 1 of the padded image, which are the events j - L … j - 1.
        """
        embedded = F.embedding(items, self.items) * math.sqrt(self.width)  # [b, l, d]
        image = F.pad(embedded, (0, 0, self.window, 0))  # [b, l + L, d]
        channels = image.transpose(1, 2)  # [b, d, l + L]
        # A filter gives the same at a row whichever window that row is in: convolve once, pool by window.
        unions = [
            F.max_pool1d(F.relu(filters(channels)), self.window - height, stride=1)
            for height, filters in enumerate(self.horizontal)
        ]  # each [b, h, l + 1]
        windows = image.unfold(1, self.window, 1)  # [b, l + 1, d, L]
        sums = (windows @ self.vertical.T).flatten(2)  # [b, l + 1, d · v]
        z = F.relu(self.joint(drop(torch.cat([*(union.transpose(1, 2) for union in unions), sums], dim=-1))))
        queries: Tensor = self.output(drop(z))
        return queries


@dataclass(kw_only=True, eq=False)
class Caser(SequenceBackbone):
    """Convolutions over the last ``window`` items; earlier ones aren't seen at all."""

    window: int = 5
    """L, items that are seen; also the largest height of a horizontal filter."""
    horizontal: int = 16
    """Horizontal filters of each height."""
    vertical: int = 4
    """Vertical filters."""

    name: ClassVar[str] = "sequence/caser"

    def __post_init__(self) -> None:
        """Raises `ArgumentError` for an argument out of range."""
        super().__post_init__()
        check_counts(window=self.window, horizontal=self.horizontal, vertical=self.vertical)

    def network(self, n_items: int) -> CaserNetwork:
        """Horizontal and vertical convolutions, two linear layers."""
        return CaserNetwork(n_items, self.width, self.window, self.horizontal, self.vertical)
