"""Everybody's metrics, collected while evaluating; turned into rows afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from metarec_sdk.evaluation.judging import CaseScores

Kind = Literal["recommender", "member", "baseline", "ablation"]

RECOMMENDER = "recommender"
"""Method name of the thing evaluated."""
BACKBONE = "member: backbone"
"""The backbone zero-shot on the support: a member, and a baseline like the others."""
OTHER_SUPPORT = "another user's support"
NO_SUPPORT = "no support, same query"
WITHOUT = "without: "
"""Prefix of the stack with one member silent."""


@dataclass(slots=True)
class MethodScores:
    """One method on one case, over its seeds."""

    method: str
    """Name in the report."""
    kind: Kind
    """What it is."""
    seeds: list[CaseScores] = field(default_factory=list)
    """One a seed; baselines have one."""
    fit_seconds: float = 0.0
    """Fitting, tuning included; of all seeds, and shared by the cases."""
    settings: Mapping[str, Any] | None = None
    """What a baseline was tuned to."""
    validation_ndcg: float | None = None
    """What it reached on validation with these."""

    def stacked(self, n_seeds: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """f64[metrics + strata, seeds, b]; what has one seed is repeated."""
        values = [np.concatenate([scores.values, scores.by_stratum]) for scores in self.seeds]
        if len(values) == 1:
            values = values * n_seeds
        return np.stack(values, axis=1)

    def coverage(self, catalogue_size: int) -> float:
        """Share of the catalogue in anybody's first ten; mean over seeds."""
        return float(np.mean([scores.covered.sum() / catalogue_size for scores in self.seeds]))


@dataclass(slots=True)
class CaseBoard:
    """All methods on one case."""

    key: tuple[str, str, int]
    """(protocol, order, k)."""
    n_users: int
    """b."""
    catalogue_size: int
    """Items ranked."""
    unknown_share: float
    """Share of the query items that are outside the catalogue: misses for everybody."""
    protocol_hash: str
    """Of the protocol, its parameters and the data."""
    methods: dict[str, MethodScores] = field(default_factory=dict)
    """By name, in the order of the report."""

    def is_baseline(self, method: MethodScores) -> bool:
        """Whether the recommender's lift is counted against a method.

        The backbone is a baseline like the others, but not at k = 0: there the members of a stack answer as
        the stack does, with its own choice of a start, and a lift over that would say nothing.
        """
        return method.kind == "baseline" or (method.method == BACKBONE and self.key[2] != 0)

    def method(self, name: str, kind: Kind) -> MethodScores:
        """The scores of a method, begun where there are none yet."""
        return self.methods.setdefault(name, MethodScores(name, kind))
