"""Lifts with intervals, p-values, and Holm's correction over all that is claimed at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from metarec_sdk.evaluation.bootstrap import Resampled, bca
from metarec_sdk.evaluation.rows import column
from metarec_sdk.evaluation.scores import RECOMMENDER
from metarec_sdk.types import Float64


@dataclass(frozen=True, slots=True)
class Claim:
    """The relative gain in NDCG@10 of the stack, or of a variant, over other methods on the same users."""

    set_name: str
    order: str
    k: int | None
    """Support events; None for the mean of the lifts at all k ≥ 1."""
    over: tuple[str, ...]
    """The method compared with, for a mean one at each k."""
    lift: float
    low: float
    """Lower end of the paired 95 % interval."""
    high: float
    """Upper end."""
    p: float
    """Two-sided bootstrap p-value that the lift is 0."""
    p_holm: float | None = None
    """The same, corrected for all claims of its family."""
    method: str = RECOMMENDER
    """Whose gain it is."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"over": list(self.over)}


@dataclass(frozen=True, slots=True)
class MeanLift:
    """The mean over sets, each in its own order, of the stack's mean lifts."""

    sets: tuple[str, ...]
    lift: float
    half_width: float
    """Of the 95 % interval: the half widths of the sets, which are independent of each other, in quadrature.
    It says nothing of sets that weren't tried."""

    @classmethod
    def of(cls, claims: Sequence[Claim]) -> MeanLift:
        """From one claim a set."""
        widths = [(each.high - each.low) / 2 for each in claims]
        return cls(
            tuple(each.set_name for each in claims),
            float(np.mean([each.lift for each in claims])),
            float(np.sqrt(np.sum(np.square(widths))) / len(claims)),
        )

    def __str__(self) -> str:
        mean = f"{self.lift:+.1%} ± {self.half_width:.1%}"
        return f"Mean of {len(self.sets)} sets, each in its own order: {mean}"


@dataclass(frozen=True, slots=True)
class Lifted:
    """A lift with everything that an interval needs; those of the same users can be averaged."""

    over: str
    value: float
    draws: Float64
    """f64[t]."""
    leave_one_out: Float64
    """f64[u]."""

    @classmethod
    def between(cls, resampled: Resampled, names: Sequence[str], method: str, other: str) -> Lifted:
        """The lift of one method over another; names are in the order of the resamples."""
        above, below = column(names.index(method)), column(names.index(other))
        with np.errstate(divide="ignore", invalid="ignore"):
            value, draws, jackknife = (
                part[..., above] / part[..., below] - 1.0
                for part in (resampled.means, resampled.draws, resampled.leave_one_out)
            )
        return cls(other, float(value), draws, jackknife)


def claim(
    set_name: str, order: str, k: int | None, lifts: Sequence[Lifted], method: str = RECOMMENDER
) -> Claim:
    """The claim about one lift, or about the mean of several.

    Averaging draw by draw keeps the pairing: `rows_of` resamples the users of every k alike.
    """
    value = float(np.mean([each.value for each in lifts]))
    draws = np.mean([each.draws for each in lifts], axis=0)
    estimate = bca(value, draws, np.mean([each.leave_one_out for each in lifts], axis=0))
    over = tuple(each.over for each in lifts)
    return Claim(set_name, order, k, over, value, estimate.low, estimate.high, p_value(draws), method=method)


def p_value(draws: Float64) -> float:
    """Two-sided p-value of "0" from resamples of the estimate (Davison & Hinkley 1997, eq. 4.11)."""
    draws = draws[np.isfinite(draws)]
    below = (1 + np.count_nonzero(draws <= 0)) / (1 + len(draws))
    above = (1 + np.count_nonzero(draws >= 0)) / (1 + len(draws))
    return float(min(1.0, 2.0 * min(below, above)))


def holm(claims: Sequence[Claim]) -> list[Claim]:
    """The claims with p-values that hold for all together (Holm 1979), in the same order."""
    corrected: list[Claim] = list(claims)
    running = 0.0
    for place, number in enumerate(sorted(range(len(claims)), key=lambda number: claims[number].p)):
        running = max(running, min(1.0, (len(claims) - place) * claims[number].p))
        corrected[number] = replace(claims[number], p_holm=running)
    return corrected
