"""The popularity prior ``log p_k(i)`` in its forms: all-time, recent, by position in the history, and by the
number of people, who come back to some items more often than to others.

People take different items first than tenth, and other items this week than last year, so the form is
chosen for each band of history lengths on validation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metarec_sdk.data.episodes import first_visits
from metarec_sdk.types import Float32, Histories

BANDS = np.array([1, 2, 4, 8, 15, 40])
"""History lengths where the bands start: 1, 2-3, 4-7, 8-14, 15-39, 40 and more."""

_RECENT_DAYS = (3, 14, 60)
_EPISODE_STARTS = (0, 1, 3, 5, 10, 20)
_EPISODE_LENGTH = 10
_PRIOR_EVENTS = 50.0
_DAY = 86_400_000_000


def band_of(lengths: np.ndarray) -> np.ndarray:
    """i64[b], the band of each history length; -1 for an empty history."""
    return np.searchsorted(BANDS, lengths, side="right") - 1


@dataclass(frozen=True)
class PopularityForms:
    """The forms side by side."""

    names: list[str]
    """p names, the all-time form first."""
    table: Float32
    """f32[n, p], log probabilities in nats."""

    @classmethod
    def fit(cls, histories: Histories, n_items: int) -> PopularityForms:
        """Count u histories over n items; every form is smoothed towards the all-time one."""
        counts = np.bincount(histories.items, histories.weights, n_items)
        everything = (counts + 1.0) / (counts.sum() + n_items)
        names, columns = ["all-time"], [everything]
        lengths = histories.lengths
        position = np.arange(len(histories.items)) - np.repeat(histories.offsets[:-1], lengths)
        newest = histories.timestamps.max(initial=0)
        for days in _RECENT_DAYS:
            names.append(f"last {days} days")
            columns.append(_smoothed(histories, histories.timestamps > newest - days * _DAY, everything))
        for start in _EPISODE_STARTS:
            names.append(f"positions {start}-{start + _EPISODE_LENGTH - 1}")
            inside = (position >= start) & (position < start + _EPISODE_LENGTH)
            columns.append(_smoothed(histories, inside, everything))
        names.append("people")
        columns.append(_smoothed(first_visits(histories), slice(None), everything))
        return cls(names, np.ascontiguousarray(np.log(np.stack(columns, axis=1)), np.float32))

    def column_from_end(self, name: str) -> int:
        """How far from the end of the table the named form stands; the all-time form for any other name."""
        return len(self.names) - (self.names.index(name) if name in self.names else 0)


def _smoothed(histories: Histories, chosen: np.ndarray | slice, prior: np.ndarray) -> np.ndarray:
    counts = np.bincount(histories.items[chosen], histories.weights[chosen], len(prior))
    smoothed: np.ndarray = (counts + _PRIOR_EVENTS * prior) / (counts.sum() + _PRIOR_EVENTS)
    return smoothed
