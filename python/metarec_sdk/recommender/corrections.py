"""What is changed in fitted gates for the list's sake, where it helps people on whom it wasn't found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.recommender.episode_scores import EpisodeScores, by_person, mean_and_error
from metarec_sdk.recommender.gates import Gates, fit_gates, refine
from metarec_sdk.recommender.guard import guarded
from metarec_sdk.recommender.popularity import BANDS
from metarec_sdk.types import Int64

Correction = Callable[[Gates, EpisodeScores], Gates]

CORRECTIONS: dict[str, Correction] = {
    "as fitted": lambda gates, scores: gates,
    "guarded": guarded,
    "refined": refine,
    "refined and guarded": lambda gates, scores: guarded(refine(gates, scores), scores),
}
"""By name, the simplest first."""


def corrected(gates: Gates, scores: EpisodeScores) -> tuple[list[str], Gates]:
    """(name of the correction of each band, the gates with them).

    `refine` and `guarded` choose among many rankings on few people, and what leads by chance is worse than
    the fitted gates on everybody else. So gates are fitted and corrected on half of the people and judged on
    the other half, both ways. The correction that raises NDCG@10 most, by more than a standard error, is made
    everywhere, but where another one is better in a band alone: by two of them, since that is looked for in
    every band.
    """
    quality = _crossed(scores)
    everywhere = _best(quality, "as fitted", scores.users, 1.0)
    names = [everywhere] * len(BANDS)
    for band in np.unique(scores.bands):
        inside = scores.bands == band
        of_band = {name: found[inside] for name, found in quality.items()}
        names[band] = _best(of_band, everywhere, scores.users[inside], 2.0)
    made = {name: CORRECTIONS[name](gates, scores) for name in set(names)}
    scale = np.stack([made[name].scale[band] for band, name in enumerate(names)])
    single = np.array([made[name].single[band] for band, name in enumerate(names)], np.int32)
    return names, replace(gates, scale=scale, single=single)


def _best(quality: dict[str, NDArray[np.float64]], start: str, people: Int64, errors: float) -> str:
    """The correction that is better than ``start`` by the most, and by so many standard errors over people;
    ``start`` where none is."""
    best, most = start, 0.0
    for name, found in quality.items():
        gain, error = mean_and_error(by_person(found - quality[start], people))
        if gain > max(errors * error, most):
            best, most = name, gain
    return best


def _crossed(scores: EpisodeScores) -> dict[str, NDArray[np.float64]]:
    """f64[E] by name, NDCG@10 under gates fitted and corrected on the half of the people that each episode's
    person isn't in."""
    people = np.unique(scores.users)
    first = np.isin(scores.users, np.random.default_rng(0).permutation(people)[::2])
    quality = {name: np.zeros(len(scores)) for name in CORRECTIONS}
    for half in (first, ~first):
        own, other = scores.take(np.flatnonzero(half)), scores.take(np.flatnonzero(~half))
        gates = fit_gates(own)
        for name, correction in CORRECTIONS.items():
            quality[name][~half] = other.quality(correction(gates, own).at(other.support.lengths))
    return quality
