"""All-time popularity."""

from __future__ import annotations

import numpy as np

from metarec_sdk.evaluation.baselines.baseline import Contestant
from metarec_sdk.evaluation.baselines.popularity_share import rank_by_share, share_index, shares
from metarec_sdk.types import Histories, TopK, TrainingLog


class Popularity:
    """Ranks by the number of users who took an item."""

    def fit(self, log: TrainingLog, rng: np.random.Generator) -> None:
        """Count the events of each item."""
        self._index = share_index(shares(log))

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k most popular items that the history doesn't hold."""
        return rank_by_share(self._index, histories, k)


POPULARITY = Contestant("popularity", Popularity, ({},), personal=False)
