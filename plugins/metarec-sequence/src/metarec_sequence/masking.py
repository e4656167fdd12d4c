"""Masked items: the training task of BERT4Rec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from metarec_sdk.backbones.windows import Batch, WindowSampler

PADDING = -1
"""Item of a place after the end of a row."""


class MaskSampler:
    """Hides items of the windows of a `WindowSampler`, and asks for them.

    A batch's ``inputs`` are i64[b, t] whole windows, with ``n_items`` in place of a hidden item and `PADDING`
    after the end; ``targets`` [b, t] are the items themselves, and ``weights`` are 0 where nothing is hidden.
    """

    def __init__(self, windows: WindowSampler, n_items: int, *, mask_share: float, last_share: float) -> None:
        self._windows = windows
        self._n_items = n_items
        self._mask_share = mask_share
        self._last_share = last_share

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The batches of one epoch, other items hidden in each."""
        for batch in self._windows.epoch(rng):
            yield self.mask(batch, rng)

    def n_batches(self) -> int:
        """Batches of an epoch, roughly."""
        return self._windows.n_batches()

    def mask(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Hide each item with probability ``mask_share``; in a share ``last_share`` of the rows, and in rows
        where that hides nothing, the last item alone: the place that is asked for when serving."""
        column = np.arange(batch.targets.shape[1])
        real = column < batch.lengths[:, None]  # [b, t]
        last = column == batch.lengths[:, None] - 1
        hidden = real & (rng.random(real.shape) < self._mask_share)
        last_only = (rng.random(len(real)) < self._last_share) | ~hidden.any(1)
        hidden = np.where(last_only[:, None], last, hidden)
        tokens = np.where(hidden, self._n_items, np.where(real, batch.targets, PADDING))
        return replace(batch, inputs=tokens, weights=np.where(hidden, batch.weights, np.float32(0)))
