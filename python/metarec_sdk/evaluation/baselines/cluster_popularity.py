"""Popularity within soft clusters: a mixture of multinomials, entered through the support alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from metarec_sdk.evaluation.baselines.baseline import Contestant
from metarec_sdk.evaluation.baselines.popularity_share import shares
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import Float64, Histories, TopK, TrainingLog


class ClusterPopularity:
    """Ranks by ``Σ_c π_uc p_c(i)``, with ``π_uc ∝ π_c (Π_j p_c(j))^sharpness`` over the support.

    ``p_c`` is the popularity within cluster c, shrunk towards the overall one. Clusters are found by k-means
    on the users' singular vectors and refined by expectation-maximisation of the mixture of multinomials.
    Without support it is popularity.
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
        visits = _visits(log.histories, log.n_items)
        overall = shares(log).astype(np.float64) + 1e-12
        overall /= overall.sum()
        clusters = max(1, min(self.clusters, len(log) // 2))
        membership = self._start(visits, clusters, rng)  # [u, c]
        for _ in range(self.rounds):
            share, weight = self._maximise(visits, membership, overall)
            membership = _responsibilities(visits @ np.log(share).T, np.log(weight), self.sharpness)
        share, weight = self._maximise(visits, membership, overall)
        self._log_share = np.log(share)  # [c, n]
        self._log_weight = np.log(weight)  # [c]
        self._index = ItemIndex(np.ascontiguousarray(share.T, dtype=np.float32))
        self._n_items = log.n_items

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k items of the highest expected popularity that the history doesn't hold."""
        support = _visits(histories, self._n_items)
        membership = _responsibilities(support @ self._log_share.T, self._log_weight, self.sharpness)
        return self._index.topk(membership.astype(np.float32), k, exclude=histories)

    def _start(self, visits: Any, clusters: int, rng: np.random.Generator) -> Float64:
        """Hard memberships f64[u, c] by k-means on normalised singular vectors."""
        from scipy.sparse.linalg import svds
        from sklearn.cluster import KMeans

        width = min(16, min(visits.shape) - 1)
        if clusters == 1 or width < 1:
            return np.ones((visits.shape[0], 1))
        length = np.sqrt(np.maximum(visits.sum(1), 1.0))
        scaled = visits.multiply(1.0 / np.asarray(length).reshape(-1, 1)).tocsr()
        left, values, _ = svds(scaled, k=width, v0=rng.random(min(visits.shape)))
        kmeans = KMeans(clusters, n_init=2, random_state=int(rng.integers(2**31)))
        labels = kmeans.fit_predict(left * values)
        memberships: Float64 = np.eye(clusters)[labels]
        return memberships

    def _maximise(self, visits: Any, membership: Float64, overall: Float64) -> tuple[Float64, Float64]:
        """Popularity within clusters f64[c, n] and the clusters' weights f64[c]."""
        counts = (visits.T @ membership).T  # [c, n]
        share = (counts + self.prior_events * overall) / (counts.sum(1, keepdims=True) + self.prior_events)
        weight = (membership.sum(0) + 1.0) / (len(membership) + membership.shape[1])
        return share, weight


def _visits(histories: Histories, n_items: int) -> Any:
    """scipy CSR f64[b, n] of events."""
    from scipy.sparse import csr_matrix

    shape = (len(histories), n_items)
    return csr_matrix((np.ones(len(histories.items)), histories.items, histories.offsets), shape)


def _responsibilities(log_likelihood: Float64, log_weight: Float64, sharpness: float) -> Float64:
    """f64[b, c], rows sum to 1."""
    logits = sharpness * log_likelihood + log_weight
    logits -= logits.max(1, keepdims=True)
    responsibilities: Float64 = np.exp(logits)
    responsibilities /= responsibilities.sum(1, keepdims=True)
    return responsibilities


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
