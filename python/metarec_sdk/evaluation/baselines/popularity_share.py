"""Shares of events by item, and ranking by them: what the popularity forms have in common."""

from __future__ import annotations

import numpy as np

from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import Bool, Float32, Float64, Histories, Int64, TopK, TrainingLog

TIE_BREAK = 1e-6
"""Weight of the all-time share where a form of popularity leaves items level, above all at zero."""


def shares(log: TrainingLog, chosen: Bool | None = None) -> Float32:
    """f32[n], the share of each item in the chosen events (all where None) and a trace of the overall one.

    The trace orders the items that the choice doesn't touch; it is too small to move any other.
    """
    overall: Float64 = np.bincount(log.histories.items, minlength=log.n_items).astype(np.float64)
    overall /= max(overall.sum(), 1.0)
    if chosen is None:
        return overall.astype(np.float32)
    counts = np.bincount(log.histories.items[chosen], minlength=log.n_items)
    mixed: Float64 = counts / max(counts.sum(), 1) + TIE_BREAK * overall
    return mixed.astype(np.float32)


def positions(histories: Histories) -> Int64:
    """i64[e], how many events of the same user come before each event."""
    return np.arange(len(histories.items)) - np.repeat(histories.offsets[:-1], histories.lengths)


def rank_by_share(index: ItemIndex, histories: Histories, k: int) -> TopK:
    """The same order for everybody, without the items of each history."""
    return index.topk(np.ones((len(histories), 1), np.float32), k, exclude=histories)


def share_index(share: Float32) -> ItemIndex:
    """An index of width 1 whose only coordinate is the share f32[n]."""
    return ItemIndex(np.ascontiguousarray(share[:, None]))
