"""What is changed in fitted gates for the list's sake, where it helps people on whom it wasn't found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.recommender.episode_scores import CLEAR_LEAD, EpisodeScores, by_person, mean_and_error
from metarec_sdk.recommender.gates import Gates, fit_gates, refine
from metarec_sdk.recommender.guard import guarded

_PARTS = 4
"""Parts of the people: with two, a guard that is right on all of them is missed on half of them."""

Correction = Callable[[Gates, EpisodeScores], Gates]

CORRECTIONS: dict[str, Correction] = {
    "as fitted": lambda gates, scores: gates,
    "guarded": guarded,
    "refined": refine,
    "refined and guarded": lambda gates, scores: guarded(refine(gates, scores), scores),
}
"""By name, the simplest first."""


def corrected(gates: Gates, scores: EpisodeScores) -> tuple[str, Gates]:
    """(name of the correction, the gates with it).

    `refine` and `guarded` choose among many rankings on few people, and what leads by chance is worse than
    the fitted gates on everybody else. So gates are fitted and corrected without a quarter of the people and
    judged on it, for each quarter; one is made where it raises NDCG@10 by `CLEAR_LEAD` standard errors.
    """
    quality = _crossed(scores)
    plain = quality["as fitted"]
    best, most = "as fitted", 0.0
    for name, found in quality.items():
        gain, error = mean_and_error(by_person(found - plain, scores.users))
        if gain > max(CLEAR_LEAD * error, most):
            best, most = name, gain
    return best, CORRECTIONS[best](gates, scores)


def _crossed(scores: EpisodeScores) -> dict[str, NDArray[np.float64]]:
    """f64[E] by name, NDCG@10 under gates fitted and corrected on the parts of the people that each episode's
    person isn't in."""
    people, of_episode = np.unique(scores.users, return_inverse=True)
    part = (np.random.default_rng(0).permutation(len(people)) % _PARTS)[of_episode]
    quality = {name: np.zeros(len(scores)) for name in CORRECTIONS}
    for judged in np.unique(part):
        own, other = (scores.take(np.flatnonzero(rows)) for rows in (part != judged, part == judged))
        gates = fit_gates(own)
        for name, correction in CORRECTIONS.items():
            quality[name][part == judged] = other.quality(correction(gates, own).at(other.support.lengths))
    return quality
