"""EASE with fold-in of the support (Steck, WWW 2019)."""

from __future__ import annotations

import numpy as np

from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.baselines.baseline import Contestant, Situation
from metarec_sdk.evaluation.baselines.boosted import BoostedPopularity
from metarec_sdk.heads.item_regression import regression_weights
from metarec_sdk.types import Histories, TopK, TrainingLog

MOST_ITEMS = 20_000
"""Above it the dense inverse (8 n² bytes, 3.2 GB at the bound, and n³ time) is refused."""


class Ease:
    """Ranks by ``Σ_j∈S B_ji``, B of `metarec_sdk.heads.item_regression` in full."""

    def __init__(self, *, regularization: float) -> None:
        self.regularization = regularization

    def fit(self, log: TrainingLog, rng: np.random.Generator) -> None:
        """Solve the regression.

        Raises:
            ArgumentError: more than `MOST_ITEMS` items.
        """
        reason = _too_many(Situation(log.n_items, True))
        if reason:
            raise ArgumentError(reason)
        self._weights = regression_weights(log.histories, log.n_items, self.regularization)
        self._ranking = BoostedPopularity(log)

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k items that the regression predicts most strongly from the history."""
        return self._ranking.rank_dense(histories, k, self._weights)


def _too_many(situation: Situation) -> str | None:
    if situation.n_items <= MOST_ITEMS:
        return None
    gigabytes = 8 * situation.n_items**2 / 1e9
    return (
        f"{situation.n_items} items need a dense inverse of {gigabytes:.1f} GB; "
        f"the bound is {MOST_ITEMS} items"
    )


EASE = Contestant(
    "ease",
    Ease,
    tuple({"regularization": value} for value in (500.0, 2000.0, 200.0, 10_000.0, 1000.0, 100.0)),
    refusal=_too_many,
)
