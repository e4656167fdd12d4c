"""The closed-form head with its empirical-Bayes prior: personalisation without meta-learning."""

from __future__ import annotations

import numpy as np

from metarec_sdk.evaluation.baselines.baseline import Contestant
from metarec_sdk.heads.natpar import Natpar
from metarec_sdk.heads.whitening import smoothed_popularity
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import Histories, TopK, TrainingLog


class EmpiricalBayes:
    """Ranks by ``⟨ŵ_u, ψ_i⟩ + g log p_i``: the head of `Natpar` on the popularity that it is linearised at.

    Somebody without support gets popularity.
    """

    def __init__(
        self,
        *,
        prior_scale: float,
        popularity: float,
        factors: int = 64,
        unobserved_weight: float = 0.3,
        regularization: float = 0.01,
    ) -> None:
        self.popularity = popularity
        self._head = Natpar(
            factors=factors,
            iterations=10,
            unobserved_weight=unobserved_weight,
            regularization=regularization,
            prior_scale=prior_scale,
        )

    def fit(self, log: TrainingLog, rng: np.random.Generator) -> None:
        """Train the item table, whiten it, estimate the prior."""
        self._head.fit(log, rng)
        prior = np.log(smoothed_popularity(log, 1.0)).astype(np.float32)
        self._index = ItemIndex(np.concatenate([self._head.item_matrix(), prior[:, None]], axis=1))

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k items of the highest posterior score that the history doesn't hold."""
        query = self._head.query(histories)
        weight = np.full((len(query), 1), self.popularity, np.float32)
        return self._index.topk(np.concatenate([query, weight], axis=1), k, exclude=histories)


NATPAR = Contestant(
    "natpar",
    EmpiricalBayes,
    tuple(
        {"prior_scale": scale, "popularity": popularity, "factors": factors}
        for scale, popularity, factors in (
            (0.3, 1.0, 64),
            (1.0, 1.0, 64),
            (0.3, 0.5, 64),
            (0.1, 1.0, 64),
            (0.5, 1.0, 128),
            (0.5, 0.7, 32),
        )
    ),
)
