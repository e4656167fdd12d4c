"""Ranking by item-item scores of a history, popularity where nothing is scored."""

from __future__ import annotations

from typing import Any

import numpy as np

from metarec_sdk.evaluation.baselines.popularity_share import TIE_BREAK, shares
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import Float32, Histories, Int32, Int64, TopK, TrainingLog

_CELLS = 1 << 22
"""Most dense scores held at a time."""


class BoostedPopularity:
    """An index of no dimensions but a trace of popularity, ranked by boosts.

    The trace only orders items of equal boost, above all those without any: item-item methods say nothing
    about most of the catalogue, and nothing at all without support.
    """

    def __init__(self, log: TrainingLog) -> None:
        self._index = ItemIndex(np.zeros((log.n_items, 1), np.float32), popularity_trace(log))
        self._n_items = log.n_items

    def rank(self, histories: Histories, k: int, boosts: tuple[Int64, Int32, Float32]) -> TopK:
        """The k best by boosts (offsets i64[b + 1], items i32[e], values f32[e]), the history left out."""
        queries = np.zeros((len(histories), 1), np.float32)
        return self._index.topk(queries, k, exclude=histories, boosts=boosts)

    def rank_dense(self, histories: Histories, k: int, weights: Float32) -> TopK:
        """The k best by ``Σ_j∈S weights[j, i]`` for dense weights f32[n, n], in bounded memory."""
        step = max(1, _CELLS // max(self._n_items, 1))
        parts = []
        for start in range(0, max(len(histories), 1), step):
            rows = histories.take(slice(start, start + step))
            scores = _visits(rows, self._n_items) @ weights  # [b, n]
            offsets = np.arange(len(rows) + 1, dtype=np.int64) * self._n_items
            items = np.tile(np.arange(self._n_items, dtype=np.int32), len(rows))
            boosts = (offsets, items, np.ascontiguousarray(scores, np.float32).ravel())
            parts.append(self.rank(rows, k, boosts))
        return joined(parts)


def popularity_trace(log: TrainingLog) -> Float32:
    """f32[n] from 0 to `TIE_BREAK`, rising with popularity: it orders only what is level otherwise."""
    share = shares(log)
    trace: Float32 = (TIE_BREAK * share / max(float(share.max(initial=0.0)), TIE_BREAK)).astype(np.float32)
    return trace


def joined(parts: list[TopK]) -> TopK:
    """The lists of all parts, one after the other."""
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return TopK(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def _visits(histories: Histories, n_items: int) -> Any:
    from scipy.sparse import csr_matrix

    shape = (len(histories), n_items)
    ones = np.ones(len(histories.items), np.float32)
    return csr_matrix((ones, histories.items, histories.offsets), shape)
