"""Ranking metrics per user, from full rankings only.

Every function takes `Judged` and a list length k and gives f64[b], one value a user, so that methods can be
compared user by user. Sampled candidates are not supported on purpose: they change the order of methods
(Krichene & Rendle, KDD 2020).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.judged import Judged
from metarec_sdk.types import Bool, Float64, Int64, TopK


def ndcg(judged: Judged, k: int) -> Float64:
    """Normalised discounted cumulative gain with binary gains (Järvelin & Kekäläinen 2002).

    ``DCG = Σ 1 / log2(position + 2)`` over wanted items within the first k; the ideal list has
    ``min(k, wanted)`` hits at its top.
    """
    hits = _hits(judged, k)
    gains = 1.0 / np.log2(judged.positions[hits] + 2.0)
    dcg = np.bincount(judged.rows[hits], weights=gains, minlength=len(judged))
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))])
    normalised: Float64 = dcg / ideal[np.minimum(judged.n_wanted, k)]
    return normalised


def recall(judged: Judged, k: int) -> Float64:
    """Share of the wanted items that are within the first k."""
    return _n_hits(judged, k) / judged.n_wanted


def hit_rate(judged: Judged, k: int) -> Float64:
    """1 where at least one wanted item is within the first k, else 0."""
    return (_n_hits(judged, k) > 0).astype(np.float64)


def mean_reciprocal_rank(judged: Judged, k: int) -> Float64:
    """1 / rank of the first wanted item, 0 where none is within the first k."""
    hits = _hits(judged, k)
    reciprocal = np.zeros(len(judged))
    np.maximum.at(reciprocal, judged.rows[hits], 1.0 / (judged.positions[hits] + 1.0))
    return reciprocal


def recall_in_stratum(judged: Judged, k: int, strata: Int64, stratum: int) -> Float64:
    """Recall over the wanted items of one popularity stratum; NaN for users who want none of it.

    Args:
        judged: the compared lists.
        k: list length.
        strata: i64[n], the stratum of each item, as `popularity_strata` gives.
        stratum: the one to look at; -1 stands for items outside the catalogue.
    """
    padded = np.append(strata, -1)  # index -1, an item outside the catalogue, is in stratum -1
    inside = padded[judged.items] == stratum
    hits = inside & _hits(judged, k)
    wanted = np.bincount(judged.rows[inside], minlength=len(judged))
    found = np.bincount(judged.rows[hits], minlength=len(judged))
    shares: Float64 = np.divide(found, wanted, out=np.full(len(judged), np.nan), where=wanted > 0)
    return shares


METRICS: dict[str, tuple[Callable[[Judged, int], Float64], int]] = {
    "ndcg@10": (ndcg, 10),
    "recall@20": (recall, 20),
    "hit_rate@10": (hit_rate, 10),
    "mrr@100": (mean_reciprocal_rank, 100),
}
"""The metrics of every report: function and list length."""

STRATA = ("head", "middle", "tail")
"""Popularity strata: each holds about a third of the training events."""


def popularity_strata(popularity: Float64 | Int64) -> Int64:
    """i64[n]: 0 for the most popular items that make up a third of all events, 1 the next third, 2 the rest.

    Items of equal popularity are ordered by index; items without an event are in stratum 2.
    """
    popularity = np.asarray(popularity, np.float64)
    order = np.argsort(-popularity, kind="stable")
    before = np.cumsum(popularity[order]) - popularity[order]
    total = popularity.sum()
    strata = np.full(len(popularity), len(STRATA) - 1, np.int64)
    if total > 0:
        strata[order] = np.minimum((len(STRATA) * before / total).astype(np.int64), len(STRATA) - 1)
    return strata


def covered(lists: TopK, k: int, n_items: int) -> Bool:
    """bool[n], items that are within the first k of at least one list: its mean is the coverage."""
    items, _ = lists.padded(k)
    seen = np.zeros(n_items, np.bool_)
    seen[items[items >= 0]] = True
    return seen


def _hits(judged: Judged, k: int) -> Bool:
    if k < 1:
        raise ArgumentError(f"k, the length of the list, must be at least 1, got {k}")
    hits: Bool = judged.positions < k
    return hits


def _n_hits(judged: Judged, k: int) -> Int64:
    return np.bincount(judged.rows[_hits(judged, k)], minlength=len(judged)).astype(np.int64)
