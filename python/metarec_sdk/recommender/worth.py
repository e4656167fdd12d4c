"""What each member is worth to the fitted stack on the user's own data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.recommender.episode_scores import MEMBERS, EpisodeScores, by_person, mean_and_error
from metarec_sdk.recommender.gates import Gates
from metarec_sdk.recommender.popularity import BANDS


@dataclass(frozen=True)
class MemberWorth:
    """Validation NDCG@10 of what is served, with and without one member."""

    name: str
    served: float
    """NDCG@10 of what is served; every person counts once, here and below."""
    alone: float
    """NDCG@10 of the member as a ranker of its own."""
    gain: float
    """What is lost without the member, 0 where it isn't used."""
    gain_error: float
    """Standard error of the gain over people."""
    dropped: list[int]
    """History lengths, each the first of a band, at which the member isn't used."""
    kept: bool
    """Whether it is used at any length that was judged."""

    def __str__(self) -> str:
        if not self.kept:
            return f"{self.name}: dropped, it doesn't help on this data (alone {self.alone:.3f})"
        share, error = (100 * part / max(self.served, 1e-9) for part in (self.gain, self.gain_error))
        if self.gain > self.gain_error:
            verdict = "helps"
        elif self.gain < -self.gain_error:
            verdict = "makes queries likelier, but lists are better without it"
        else:
            verdict = "no measurable difference"
        text = f"{self.name}: {verdict}, NDCG@10 {share:+.1f} % ± {error:.1f} (alone {self.alone:.3f})"
        if self.dropped:
            text += f"; not used in {histories_from(self.dropped)}"
        return text


def histories_from(firsts: Iterable[int]) -> str:
    """The histories of the bands that start at these lengths, in words."""
    return f"histories of {', '.join(map(_range_from, firsts))} events"


def _range_from(first: int) -> str:
    longer = BANDS[first < BANDS]
    if not len(longer):
        return f"{first} and more"
    last = int(longer[0]) - 1
    return str(first) if last == first else f"{first}-{last}"


@dataclass(frozen=True)
class LearnedWorth:
    """What the meta-learned head and adapters change in the stack's validation NDCG@10."""

    before: float
    """NDCG@10 of the stack without them; every person counts once."""
    gain: float
    """What they add, each stack with gates of its own."""
    gain_error: float
    """Standard error of the gain over people."""

    @property
    def kept(self) -> bool:
        """Only what ranks better beyond noise is kept: a better head needn't make a better stack."""
        return self.gain > self.gain_error

    def __str__(self) -> str:
        share, error = (100 * part / max(self.before, 1e-9) for part in (self.gain, self.gain_error))
        verdict = "kept" if self.kept else "dropped, its gain is within noise"
        return f"meta-learning: {verdict}, NDCG@10 of the stack {share:+.1f} % ± {error:.1f}"


def worth_of(gates: Gates, scores: EpisodeScores) -> list[MemberWorth]:
    """One for each member; popularity takes the place of a member that serves a band alone."""
    people = scores.users
    served_gates = gates.at(scores.support.lengths)
    of_served = scores.quality(served_gates)
    found = []
    for place, name in enumerate(MEMBERS):
        without = served_gates.copy()
        without[:, place] = 0.0
        nobody = ~without.any(1)
        without[nobody, MEMBERS.index("popularity")] = 1.0
        gain = by_person(of_served - scores.quality(without), people)
        alone = scores.quality_alone(scores.members[place])
        used = served_gates[:, place] > 0.0
        bands = np.unique(scores.bands)
        unused = [int(BANDS[band]) for band in bands if not used[scores.bands == band].any()]
        found.append(
            MemberWorth(
                name,
                float(by_person(of_served, people).mean()),
                float(by_person(alone, people).mean()),
                *mean_and_error(gain),
                unused,
                bool(used.any()),
            )
        )
    return found


def learned_worth(
    before: NDArray[np.float64], after: NDArray[np.float64], people: NDArray[np.int64]
) -> LearnedWorth:
    """From the NDCG@10 f64[E] of the stack's episodes without and with what was learned."""
    return LearnedWorth(
        float(by_person(before, people).mean()), *mean_and_error(by_person(after - before, people))
    )
