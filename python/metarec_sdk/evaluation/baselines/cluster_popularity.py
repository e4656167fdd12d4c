"""Popularity within soft clusters: a mixture of multinomials, entered through the support alone."""

from __future__ import annotations

import numpy as np

from metarec_sdk.evaluation.baselines.baseline import Contestant
from metarec_sdk.heads.mixture import TRACE, PopularityMixture
from metarec_sdk.heads.whitening import smoothed_popularity
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import Histories, TopK, TrainingLog


class ClusterPopularity:
    """Ranks by ``Σ_c π_uc p_c(i)``, with ``π_uc ∝ π_c (Π_j p_c(j))^sharpness`` over the support.

    The clusters are those of `metarec_sdk.heads.mixture`. Without support it is popularity.
    """

    def __init__(
        self, *, clusters: int, prior_events: float = 200.0, sharpness: float = 1.0, rounds: int = 10
    ) -> None:
        self.clusters = clusters
        self.prior_events = prior_events
        self.sharpness = sharpness
        self.rounds = rounds

    def fit(self, log: TrainingLog, rng: np.random.Generator) -> None:
        """Find the clusters and count within them."""
        self._mixture = PopularityMixture.fit(
            log,
            self.clusters,
            rng,
            prior_events=self.prior_events,
            sharpness=self.sharpness,
            rounds=self.rounds,
        )
        overall = smoothed_popularity(log, TRACE)
        share = np.exp(self._mixture.lift) * overall[:, None]  # [n, c]
        self._index = ItemIndex(np.ascontiguousarray(share, dtype=np.float32))

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k items of the highest expected popularity that the history doesn't hold."""
        return self._index.topk(self._mixture.memberships(histories), k, exclude=histories)


CLUSTER_POPULARITY = Contestant(
    "cluster popularity",
    ClusterPopularity,
    (
        {"clusters": 32},
        {"clusters": 64},
        {"clusters": 16},
        {"clusters": 64, "sharpness": 0.5},
        {"clusters": 8},
        {"clusters": 128},
    ),
)
