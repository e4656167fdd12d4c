"""The guard: leave the stack for its best single member where that is clearly better on validation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.recommender.episode_scores import MEMBERS, EpisodeScores, by_person, mean_and_error
from metarec_sdk.recommender.gates import Gates
from metarec_sdk.recommender.popularity import BANDS


@dataclass(frozen=True)
class BandResult:
    """Validation NDCG@10 of one band of history lengths, and what the guard made of it."""

    first_length: int
    episodes: int
    stack: float
    members: dict[str, float]
    without: dict[str, float]
    serves: str
    """``stack`` or the member that serves the band alone."""


def guarded(gates: Gates, scores: EpisodeScores) -> Gates:
    """Leave the stack, band by band, for its best single member where that is better by more than one
    standard error of the paired difference."""
    of_stack = scores.quality(gates.at(scores.support.lengths))
    alone = _alone(scores)
    single = np.full(len(BANDS), -1, np.int32)
    for band in np.unique(scores.bands):
        inside = scores.bands == band
        best = int(np.argmax(alone[:, inside].mean(1)))
        difference = alone[best, inside] - of_stack[inside]
        gain, error = mean_and_error(by_person(difference, scores.users[inside]))
        if gain > error:
            single[band] = best
    return replace(gates, single=single)


def band_results(gates: Gates, scores: EpisodeScores) -> list[BandResult]:
    """Band by band, what serves, and what each member is worth alone and to the stack."""
    stacked = replace(gates, single=np.full(len(BANDS), -1, np.int32)).at(scores.support.lengths)
    of_stack, alone = scores.quality(stacked), _alone(scores)
    without = np.empty_like(alone)
    for member in range(len(MEMBERS)):
        reduced = stacked.copy()
        reduced[:, member] = 0.0
        without[member] = scores.quality(reduced) if reduced.any() else 0.0
    results = []
    for band in np.unique(scores.bands):
        inside = scores.bands == band
        single = int(gates.single[band])
        results.append(
            BandResult(
                int(BANDS[band]),
                int(inside.sum()),
                float(of_stack[inside].mean()),
                dict(zip(MEMBERS, alone[:, inside].mean(1).tolist())),
                dict(zip(MEMBERS, without[:, inside].mean(1).tolist())),
                "stack" if single < 0 else MEMBERS[single],
            )
        )
    return results


def _alone(scores: EpisodeScores) -> NDArray[np.float64]:
    """f64[members, E], NDCG@10 of each member by itself."""
    return np.stack([scores.quality_alone(member) for member in scores.members])
