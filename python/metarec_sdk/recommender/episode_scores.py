"""What each member of the stack says about validation episodes: the data that gates are fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.recommender.popularity import band_of
from metarec_sdk.types import Float32, Histories, Int64

MEMBERS = ("backbone", "head", "popularity", "item-item", "mixture")
"""The members of the stack, in the order of every array over members."""

PERSONAL = [MEMBERS.index(name) for name in ("head", "item-item", "mixture")]
"""Places of those that say nothing about somebody without history."""

MAX_CELLS = 30_000_000
"""Episodes times items held at once; 120 MB a member."""

_CUTOFF = 10


@dataclass(frozen=True)
class EpisodeScores:
    """Scores of the members for E episodes over n items."""

    members: list[Float32]
    """Arrays f32[E, n] in the order of `MEMBERS`."""
    support: Histories
    """E support sets; their items are never ranked."""
    query: Histories
    """E query sets."""
    users: Int64
    """i64[E], which user each episode belongs to, so that errors are averaged over people."""

    def __len__(self) -> int:
        return len(self.support)

    @property
    def bands(self) -> Int64:
        """i64[E], the band of each support length."""
        return band_of(self.support.lengths)

    def of_band(self, band: int) -> EpisodeScores:
        """The episodes of one band."""
        rows = np.flatnonzero(self.bands == band)
        return EpisodeScores(
            [member[rows] for member in self.members],
            self.support.take(rows),
            self.query.take(rows),
            self.users[rows],
        )

    def combined(self, gates: np.ndarray) -> Float32:
        """f32[E, n], the sum weighted by gates [E, 4], -inf where the support is."""
        total = np.zeros_like(self.members[0])
        for member, gate in zip(self.members, gates.T):
            if gate.any():
                total += gate[:, None].astype(np.float32) * member
        return self.masked(total)

    def masked(self, scores: Float32) -> Float32:
        """The given scores with the support set to -inf, in place."""
        scores[np.repeat(np.arange(len(self)), self.support.lengths), self.support.items] = -np.inf
        return scores

    def ndcg(self, scores: Float32) -> np.ndarray:
        """f64[E], NDCG@10 of masked scores [E, n] against the query (Järvelin & Kekäläinen 2002)."""
        k = min(_CUTOFF, scores.shape[1])
        top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, 1)  # [E, k]
        wanted = np.zeros(scores.shape, bool)
        wanted[np.repeat(np.arange(len(self)), self.query.lengths), self.query.items] = True
        discount = 1.0 / np.log2(np.arange(2, k + 2))
        ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(wanted.sum(1), k)]
        gain: np.ndarray = (np.take_along_axis(wanted, top, 1) * discount).sum(1) / np.maximum(ideal, 1e-12)
        return gain


def by_person(values: NDArray[np.float64], people: NDArray[np.int64]) -> NDArray[np.float64]:
    """f64[people], the mean of each person's episodes: these are independent, a person's own aren't."""
    _, inverse = np.unique(people, return_inverse=True)
    return np.bincount(inverse, values) / np.bincount(inverse)


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """(mean, standard error); the error of a single value is infinite."""
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.inf
    return float(values.mean()), error
