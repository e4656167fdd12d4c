"""Implicit ALS with fold-in of the support (Hu et al. 2008; Rendle et al. 2021)."""

from __future__ import annotations

import numpy as np

from metarec_sdk.evaluation.baselines.baseline import Contestant
from metarec_sdk.evaluation.baselines.boosted import popularity_trace
from metarec_sdk.heads.ials import Ials
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import Histories, TopK, TrainingLog


class ImplicitFactors:
    """Ranks by ``⟨w_u, φ_i⟩``, w_u the least-squares vector of the support against fixed item factors.

    A trace of popularity orders the items of somebody without support, whose vector is 0.
    """

    def __init__(
        self,
        *,
        factors: int,
        regularization: float = 0.003,
        unobserved_weight: float = 0.1,
        iterations: int = 12,
    ) -> None:
        self._training = Ials(
            factors=factors,
            regularization=regularization,
            unobserved_weight=unobserved_weight,
            iterations=iterations,
        )

    def fit(self, log: TrainingLog, rng: np.random.Generator) -> None:
        """Train the item factors."""
        _, item_factors = self._training.train(log, rng)
        self._solver = self._training.solver(item_factors)
        self._index = ItemIndex(item_factors, popularity_trace(log))

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k items that fit the folded-in vector best, without those of the history."""
        queries = self._solver.solve(histories.offsets, histories.items, histories.weights)
        return self._index.topk(queries, k, exclude=histories)


IALS = Contestant(
    "ials",
    ImplicitFactors,
    tuple(
        {"factors": factors, "unobserved_weight": weight, "regularization": regularization}
        for factors, weight, regularization in (
            (64, 0.1, 0.03),
            (64, 0.3, 0.01),
            (64, 0.1, 0.1),
            (32, 0.3, 0.1),
            (128, 0.3, 0.003),
            (16, 0.1, 0.03),
        )
    ),
)
