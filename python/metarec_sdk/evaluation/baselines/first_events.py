"""Popularity among first events: what people begin with."""

from __future__ import annotations

import numpy as np

from metarec_sdk.evaluation.baselines.baseline import Contestant
from metarec_sdk.evaluation.baselines.popularity_share import positions, rank_by_share, share_index, shares
from metarec_sdk.types import Histories, TopK, TrainingLog


class FirstEvents:
    """Ranks by the number of users who took an item among their first ``first`` events."""

    def __init__(self, *, first: int) -> None:
        self.first = first

    def fit(self, log: TrainingLog, rng: np.random.Generator) -> None:
        """Count the first events of each user."""
        self._index = share_index(shares(log, positions(log.histories) < self.first))

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k items people most often begin with that the history doesn't hold."""
        return rank_by_share(self._index, histories, k)


FIRST_EVENTS = Contestant(
    "first events",
    FirstEvents,
    tuple({"first": first} for first in (10, 20, 5, 30, 3, 50)),
    personal=False,
)
