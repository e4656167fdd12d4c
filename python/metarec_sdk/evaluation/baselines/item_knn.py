"""Item-to-item neighbours of the support, symmetric and directed."""

from __future__ import annotations

import numpy as np

from metarec_sdk.evaluation.baselines.baseline import Contestant
from metarec_sdk.evaluation.baselines.boosted import BoostedPopularity
from metarec_sdk.heads.item_knn import ItemKNN
from metarec_sdk.types import Histories, TopK, TrainingLog


class ItemNeighbours:
    """Ranks by ``Σ_j∈S K_ji``, popularity where no neighbour of the support is.

    K is the shrunk cosine of `ItemKNN`; directed, it counts what comes within ``window`` events after j.
    """

    def __init__(
        self, *, neighbours: int, shrinkage: float, directed: bool = False, window: int = 10
    ) -> None:
        self._neighbours = ItemKNN(
            directed=directed, neighbours=neighbours, shrinkage=shrinkage, window=window
        )

    def fit(self, log: TrainingLog, rng: np.random.Generator) -> None:
        """Count neighbours."""
        self._neighbours.fit(log, rng)
        self._ranking = BoostedPopularity(log)

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k items nearest to the history that it doesn't hold."""
        return self._ranking.rank(histories, k, self._neighbours.boosts(histories))


ITEM_KNN = Contestant(
    "item-knn",
    ItemNeighbours,
    (
        {"neighbours": 200, "shrinkage": 20.0},
        {"neighbours": 1000, "shrinkage": 20.0},
        {"neighbours": 100, "shrinkage": 5.0},
        {"neighbours": 1000, "shrinkage": 100.0},
        {"neighbours": 1000, "shrinkage": 400.0},
        {"neighbours": 50, "shrinkage": 10.0},
    ),
)

DIRECTED_ITEM_KNN = Contestant(
    "directed item-knn",
    ItemNeighbours,
    tuple(
        {"neighbours": neighbours, "shrinkage": shrinkage, "directed": True, "window": window}
        for neighbours, shrinkage, window in (
            (1000, 100.0, 10),
            (1000, 20.0, 40),
            (1000, 400.0, 10),
            (200, 20.0, 5),
            (1000, 100.0, 80),
            (200, 5.0, 10),
        )
    ),
)
