"""Item-to-item neighbours of the support, symmetric and directed."""

from __future__ import annotations

import numpy as np

from metarec_sdk.evaluation.baselines.baseline import Contestant
from metarec_sdk.evaluation.baselines.boosted import BoostedPopularity
from metarec_sdk.heads.item_knn import ItemKNN
from metarec_sdk.types import Histories, TopK, TrainingLog


class ItemNeighbours:
    """Ranks by ``Σ_j∈S K_ji``, popularity where no neighbour of the support is.

    K is the shrunk cosine of `ItemKNN`; directed, it counts what comes within ``window`` events after j. With
    ``last`` only the last events of the support speak.
    """

    def __init__(
        self,
        *,
        neighbours: int,
        shrinkage: float,
        directed: bool = False,
        window: int = 10,
        last: int | None = None,
    ) -> None:
        self.last = last
        self._neighbours = ItemKNN(
            directed=directed, neighbours=neighbours, shrinkage=shrinkage, window=window
        )

    def fit(self, log: TrainingLog, rng: np.random.Generator) -> None:
        """Count neighbours."""
        self._neighbours.fit(log, rng)
        self._ranking = BoostedPopularity(log)

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k items nearest to the history that it doesn't hold."""
        recent = histories if self.last is None else histories.last(self.last)
        return self._ranking.rank(histories, k, self._neighbours.boosts(recent, root=False))


ITEM_KNN = Contestant(
    "item-knn",
    ItemNeighbours,
    tuple(
        {"neighbours": neighbours, "shrinkage": shrinkage, "last": last}
        for neighbours, shrinkage, last in (
            (1000, 100.0, None),
            (200, 20.0, 5),
            (200, 20.0, None),
            (1000, 20.0, 3),
            (1000, 400.0, None),
            (100, 5.0, None),
        )
    ),
)

DIRECTED_ITEM_KNN = Contestant(
    "directed item-knn",
    ItemNeighbours,
    tuple(
        {"neighbours": 1000, "shrinkage": shrinkage, "directed": True, "window": window, "last": last}
        for shrinkage, window, last in (
            (100.0, 10, None),
            (100.0, 10, 5),
            (400.0, 10, None),
            (20.0, 40, None),
            (20.0, 5, 10),
            (20.0, 5, None),
        )
    ),
)
