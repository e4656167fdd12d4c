"""Popularity of the last days, often the strongest of all under time splits."""

from __future__ import annotations

import numpy as np

from metarec_sdk.evaluation.baselines.baseline import Contestant, Situation
from metarec_sdk.evaluation.baselines.popularity_share import rank_by_share, share_index, shares
from metarec_sdk.types import Histories, TopK, TrainingLog

DAY = 86_400_000_000
"""Microseconds in a day."""


class RecentPopularity:
    """Ranks by the number of users who took an item in the last ``days`` of the training log."""

    def __init__(self, *, days: float) -> None:
        self.days = days

    def fit(self, log: TrainingLog, rng: np.random.Generator) -> None:
        """Count the events of the last days, back from the last event."""
        times = log.histories.timestamps
        end = int(times.max()) if len(times) else 0
        self._index = share_index(shares(log, times > end - int(self.days * DAY)))

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k most popular items of the last days that the history doesn't hold."""
        return rank_by_share(self._index, histories, k)


def _without_time(situation: Situation) -> str | None:
    return None if situation.has_time else "the log has no times"


RECENT_POPULARITY = Contestant(
    "recent popularity",
    RecentPopularity,
    tuple({"days": days} for days in (7.0, 30.0, 2.0, 90.0, 14.0, 365.0)),
    personal=False,
    refusal=_without_time,
)
