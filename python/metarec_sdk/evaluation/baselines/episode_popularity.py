"""Popularity by position: what people take after as many events as this user has."""

from __future__ import annotations

import numpy as np

from metarec_sdk.evaluation.baselines.baseline import Contestant
from metarec_sdk.evaluation.baselines.popularity_share import positions, shares
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import Float32, Histories, TopK, TrainingLog

MOST_LENGTHS = 64
"""Histories longer than this are treated as if they had this length."""


class EpisodePopularity:
    """Ranks after k events by what others took at their positions k … k + ``width`` − 1."""

    def __init__(self, *, width: int) -> None:
        self.width = width

    def fit(self, log: TrainingLog, rng: np.random.Generator) -> None:
        """Keep the log; the counts of a length are made when it is first asked for."""
        self._log = log
        self._positions = positions(log.histories)
        self._longest = min(MOST_LENGTHS, int(log.histories.lengths.max(initial=0)))
        self._shares: dict[int, Float32] = {}
        self._items = np.zeros((log.n_items, 1), np.float32)

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k items most often taken next by people with as many events, without those of the history."""
        lengths = np.minimum(histories.lengths, self._longest)
        distinct, bucket = np.unique(lengths, return_inverse=True)
        table = np.stack([self._share(int(length)) for length in distinct])  # [C, n]
        queries = np.zeros((len(histories), 1), np.float32)
        index = ItemIndex(self._items, task_bias=table)
        return index.topk(queries, k, exclude=histories, tasks=bucket.astype(np.int32))

    def _share(self, length: int) -> Float32:
        if length not in self._shares:
            chosen = (self._positions >= length) & (self._positions < length + self.width)
            self._shares[length] = shares(self._log, chosen)
        return self._shares[length]


EPISODE_POPULARITY = Contestant(
    "episode popularity",
    EpisodePopularity,
    tuple({"width": width} for width in (10, 20, 5, 40, 80, 15)),
    personal=False,
)
