"""From everybody's metrics to the rows of a report: means, intervals and lifts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from metarec_sdk.evaluation.bootstrap import Estimate, Resampled, paired_bootstrap
from metarec_sdk.evaluation.metrics import METRICS, STRATA
from metarec_sdk.evaluation.scores import RECOMMENDER, CaseBoard, MethodScores

RANKED_BY = "ndcg@10"
"""The metric that lifts and the best baseline are about."""
SEED = 20_240_607
"""Seed of the resamples: the same users are drawn whatever is evaluated."""
COVERAGE = "coverage@10"


@dataclass(frozen=True, slots=True)
class Lift:
    """Relative gain in NDCG@10 over another method on the same users, 0.05 is 5 %."""

    over: str
    """The other method."""
    value: float
    """``mean / other mean − 1``."""
    low: float
    """Lower end of the paired 95 % interval."""
    high: float
    """Upper end."""


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one case."""

    protocol: str
    """``cold-start``, ``warm`` or ``leave-one-out``."""
    order: str
    """``time`` or ``random``."""
    k: int | None
    """Support events; None for a user's whole history."""
    method: str
    """Name."""
    kind: str
    """``recommender``, ``member``, ``baseline`` or ``ablation``."""
    users: int
    """People ranked."""
    seeds: tuple[int, ...]
    """Seeds the mean is over."""
    metrics: dict[str, Estimate]
    """Means with 95 % intervals; coverage has none."""
    recall_by_stratum: dict[str, Estimate]
    """Recall@20 by popularity stratum, over the users who want items of it."""
    coverage: float
    """Share of the catalogue in anybody's first ten."""
    unknown_share: float
    """Share of the query items outside the training catalogue: misses."""
    lift: Lift | None
    """The recommender's gain over the strictest baseline, the one of the highest NDCG@10 on these users."""
    lift_over_member: Lift | None
    """The recommender's gain over its best single member."""
    settings: dict[str, Any] | None
    """What a baseline was tuned to."""
    validation_ndcg: float | None
    """NDCG@10 on validation with these settings."""
    fit_seconds: float
    """Fitting and tuning, shared by all cases."""
    rank_seconds: float
    """Ranking these users, all seeds together."""
    protocol_hash: str
    """Rows with the same hash were measured alike on the same data."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"seeds": list(self.seeds)}


def rows_of(board: CaseBoard, seeds: tuple[int, ...], n_draws: int) -> tuple[list[Row], Resampled, list[str]]:
    """The rows of a case, its resamples, and the names of its methods in the order of the resamples.

    The resampled columns are method by method, each with the metrics first and the strata behind them.
    """
    methods = list(board.methods.values())
    names = [method.method for method in methods]
    stacked = np.concatenate([method.stacked(len(seeds)) for method in methods])
    resampled = paired_bootstrap(stacked, np.random.default_rng(SEED), n_draws)
    rows = [_row(board, method, index, methods, resampled, seeds) for index, method in enumerate(methods)]
    return rows, resampled, names


def column(method: int, metric: str = RANKED_BY) -> int:
    """Column of a method's metric in the resamples."""
    return method * (len(METRICS) + len(STRATA)) + list(METRICS).index(metric)


def _row(
    board: CaseBoard,
    method: MethodScores,
    index: int,
    methods: list[MethodScores],
    resampled: Resampled,
    seeds: tuple[int, ...],
) -> Row:
    protocol, order, k = board.key
    first = column(index, next(iter(METRICS)))
    metrics = {name: resampled.mean(first + place) for place, name in enumerate(METRICS)}
    strata = {name: resampled.mean(first + len(METRICS) + place) for place, name in enumerate(STRATA)}
    baselines = [place for place, other in enumerate(methods) if board.is_baseline(other)]
    members = [place for place, other in enumerate(methods) if other.kind == "member"]
    is_recommender = method.method == RECOMMENDER
    return Row(
        protocol,
        order,
        k if k >= 0 else None,
        method.method,
        method.kind,
        board.n_users,
        seeds if method.kind != "baseline" else seeds[:1],
        metrics,
        strata,
        method.coverage(board.catalogue_size),
        board.unknown_share,
        _lift(resampled, index, baselines, methods) if is_recommender else None,
        _lift(resampled, index, members, methods) if is_recommender else None,
        None if method.settings is None else dict(method.settings),
        method.validation_ndcg,
        method.fit_seconds,
        sum(scores.seconds for scores in method.seeds),
        board.protocol_hash,
    )


def _lift(resampled: Resampled, index: int, others: list[int], methods: list[MethodScores]) -> Lift | None:
    """The lift over the best of the others; the first where several are level."""
    if not others:
        return None
    best = max(others, key=lambda place: (resampled.means[column(place)], -place))
    estimate = resampled.lift(column(index), column(best))
    return Lift(methods[best].method, estimate.value, estimate.low, estimate.high)
