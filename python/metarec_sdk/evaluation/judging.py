"""Ranking the users of a case in chunks and keeping nothing but their metrics."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import cast

import numpy as np

from metarec_sdk.errors import DataError
from metarec_sdk.evaluation.catalogue import Catalogue, Translation
from metarec_sdk.evaluation.judged import judge
from metarec_sdk.evaluation.metrics import METRICS, STRATA, covered, recall_in_stratum
from metarec_sdk.ranking import MAX_K
from metarec_sdk.types import Bool, Float64, Histories, Memberships, Ranker, TaskRanker

DEPTH = 100
"""Items asked of a ranker: what the longest metric needs."""
CHUNK = 1024
"""Users ranked at a time, so that memory doesn't grow with users × items."""
COVERAGE_DEPTH = 10
STRATUM_DEPTH = 20


@dataclass(frozen=True, slots=True)
class CaseScores:
    """Metrics of one ranker on one case."""

    values: Float64
    """f64[metrics, b] in the order of `METRICS`."""
    by_stratum: Float64
    """f64[strata, b], Recall@20 within each popularity stratum; NaN for users who want none of it."""
    covered: Bool
    """bool[N], items within anybody's first ten."""
    seconds: float
    """Time spent ranking."""

    def metric(self, name: str) -> Float64:
        """f64[b], one metric by its name in `METRICS`."""
        values: Float64 = self.values[list(METRICS).index(name)]
        return values


def judge_ranker(
    ranker: Ranker,
    translation: Translation,
    catalogue: Catalogue,
    support: Histories,
    query: Histories,
    memberships: Memberships | None = None,
) -> CaseScores:
    """Rank from the support and compare with the query, chunk by chunk.

    Args:
        ranker: works on its own item indices.
        translation: between these and the log's.
        catalogue: the items seen in training.
        support: b rows over the log's items; items unknown to the ranker are left out of what it is given.
        query: b rows over the log's items; items outside the catalogue are misses.
        memberships: of the b rows, for a ranker that takes them; None leaves them to the ranker.

    Raises:
        DataError: what is ranked lies deeper in a list of all items than lists go.
    """
    values = np.empty((len(METRICS), len(query)))
    by_stratum = np.empty((len(STRATA), len(query)))
    seen = np.zeros(len(catalogue.items), np.bool_)
    given = translation.support(support)
    # What lies outside the catalogue is taken out of the lists afterwards.
    wanted = DEPTH + int(np.count_nonzero(translation.outward < 0))
    depth = min(wanted, MAX_K)
    seconds = 0.0
    for start in range(0, len(query), CHUNK):
        rows = slice(start, start + CHUNK)
        chunk = given.take(rows)
        before = perf_counter()
        if memberships is None:
            ranked = ranker.rank(chunk, depth)
        else:
            ranked = cast(TaskRanker, ranker).rank(chunk, depth, memberships.take(rows))
        seconds += perf_counter() - before
        lists = translation.lists(ranked)
        if depth < wanted and np.diff(lists.offsets).min(initial=DEPTH) < min(DEPTH, catalogue.size):
            raise DataError(
                f"only {np.diff(lists.offsets).min()} of {catalogue.size:,} ranked items are among the first "
                f"{depth:,} of {len(translation.outward):,}, which is as deep as lists go; take fewer users"
            )
        judged = judge(lists, query.take(rows))
        for row, (metric, depth) in enumerate(METRICS.values()):
            values[row, rows] = metric(judged, depth)
        for stratum in range(len(STRATA)):
            by_stratum[stratum, rows] = recall_in_stratum(judged, STRATUM_DEPTH, catalogue.strata, stratum)
        seen |= covered(lists, COVERAGE_DEPTH, len(seen))
    return CaseScores(values, by_stratum, seen, seconds)
