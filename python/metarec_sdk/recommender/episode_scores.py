"""What each member of the stack says about validation episodes: the data that gates are fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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

CLEAR_LEAD = 2.0
"""Standard errors by which one of several has to lead before it's preferred to what serves otherwise: the
best of three independent ones leads by a single one through chance four times in ten."""

_CUTOFF = 10

_BLOCK_CELLS = 65_536
_ALL = slice(None)


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

    def take(self, rows: NDArray[np.int64]) -> EpisodeScores:
        """Some of the episodes."""
        return EpisodeScores(
            [member[rows] for member in self.members],
            self.support.take(rows),
            self.query.take(rows),
            self.users[rows],
        )

    def of_band(self, band: int) -> EpisodeScores:
        """The episodes of one band."""
        return self.take(np.flatnonzero(self.bands == band))

    def blocks(self) -> Iterator[slice]:
        """Runs of episodes whose scores stay in a core's cache while they are worked on."""
        return self._blocks(self.members[0].shape[1])

    def _blocks(self, n: int) -> Iterator[slice]:
        rows = max(1, _BLOCK_CELLS // n)
        for start in range(0, len(self), rows):
            yield slice(start, min(start + rows, len(self)))

    def combined(self, gates: NDArray[Any], rows: slice = _ALL) -> Float32:
        """f32[b, n], the sum for some episodes, weighted by gates [b, members], -inf where the support is."""
        parts = [
            gate[:, None].astype(np.float32) * member[rows]
            for member, gate in zip(self.members, gates.T)
            if gate.any()
        ]
        total = parts[0] if parts else np.zeros_like(self.members[0][rows])
        for part in parts[1:]:
            total += part
        return self.masked(total, rows)

    def masked(self, scores: Float32, rows: slice = _ALL) -> Float32:
        """The given scores of some episodes with the support set to -inf, in place."""
        row, items = _within(self.support, rows)
        scores[row, items] = -np.inf
        return scores

    def quality(self, gates: NDArray[Any]) -> NDArray[np.float64]:
        """f64[E], NDCG@10 of the sum weighted by gates [E, members]."""
        parts = [self.ndcg(self.combined(gates[rows], rows), rows) for rows in self.blocks()]
        return np.concatenate(parts) if parts else np.zeros(0)

    def quality_alone(self, scores: Float32) -> NDArray[np.float64]:
        """f64[E], NDCG@10 of scores [E, n], or [1, n] for everybody, the support left out."""
        n = scores.shape[1]
        everybody = np.broadcast_to(scores, (len(self), n))
        parts = [self.ndcg(self.masked(everybody[rows].copy(), rows), rows) for rows in self._blocks(n)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def qualities(
        self, gates: NDArray[Any], member: int, multipliers: Sequence[float]
    ) -> NDArray[np.float64]:
        """f64[multipliers, E], `quality` with one member's gate multiplied."""
        found = np.zeros((len(multipliers), len(self)))
        for rows in self.blocks():
            total = self.combined(gates[rows], rows)
            own = gates[rows, member, None].astype(np.float32) * self.members[member][rows]
            for place, multiplier in enumerate(multipliers):
                found[place, rows] = self.ndcg(total + np.float32(multiplier - 1.0) * own, rows)
        return found

    def ndcg(self, scores: Float32, rows: slice = _ALL) -> NDArray[np.float64]:
        """f64[b], NDCG@10 of masked scores [b, n] of some episodes against the query (Järvelin & Kekäläinen
        2002); tied items share the expected discount of their places (McSherry & Najork 2008)."""
        n = scores.shape[1]
        k = min(_CUTOFF, n)
        top = np.partition(scores, n - k, axis=1)[:, n - k :]  # [b, k], the lowest of them first
        row, items = _within(self.query, rows)
        score = scores[row, items]  # [q]
        above = (top[row] > score[:, None]).sum(1)
        tied = (top[row] == score[:, None]).sum(1)
        at_edge = score == top[row, 0]  # those that are tied there may be more than fit
        if at_edge.any():
            edges, place = np.unique(row[at_edge], return_inverse=True)
            tied[at_edge] = np.count_nonzero(scores[edges] == top[edges, :1], axis=1)[place]
        gained = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))])
        gain = (gained[np.minimum(above + tied, k)] - gained[above]) / np.maximum(tied, 1)
        ideal = gained[np.minimum(self.query.lengths[rows], k)]
        found: NDArray[np.float64] = np.bincount(row, gain, len(scores)) / np.maximum(ideal, 1e-12)
        return found


def _within(sets: Histories, rows: slice) -> tuple[Int64, NDArray[np.int32]]:
    """(row within the slice, item) of every event of some sets."""
    offsets = sets.offsets[rows.start or 0 : len(sets) + 1 if rows.stop is None else rows.stop + 1]
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), sets.items[offsets[0] : offsets[-1]]


def by_person(values: NDArray[np.float64], people: NDArray[np.int64]) -> NDArray[np.float64]:
    """f64[people], the mean of each person's episodes: these are independent, a person's own aren't."""
    _, inverse = np.unique(people, return_inverse=True)
    return np.bincount(inverse, values) / np.bincount(inverse)


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """(mean, standard error); the error of a single value is infinite."""
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.inf
    return float(values.mean()), error
