"""Item-item neighbours: a history's sparse boosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk import _core
from metarec_sdk.errors import ArtefactError, NotFittedError
from metarec_sdk.heads.native_errors import native_errors
from metarec_sdk.heads.parameters import number, restored, whole
from metarec_sdk.protocols import Boosts
from metarec_sdk.types import Histories, Progress, State, TrainingLog, no_progress


class ItemKNN:
    """Shrunk cosine between items, the best neighbours of each kept.

    ``K_ij = c_ij / (√(c_i c_j) + shrinkage)``. Symmetric: c_ij is the number of users with both items (an
    item counts once a user) and c_i the number of users of i (Sarwar et al. 2001). Directed: c_ij counts how
    often j is among the ``window`` events after i and c_i the events of i, so that order matters. Weights of
    events don't count here; those of a history do in `boosts`.
    """

    def __init__(
        self, *, directed: bool = False, neighbours: int = 100, shrinkage: float = 10.0, window: int = 10
    ) -> None:
        self.directed = directed
        self.neighbours = whole("neighbours", neighbours, 1, 100_000)
        self.shrinkage = number("shrinkage", shrinkage, least=0.0)
        self.window = whole("window", window, 1, 1_000_000)
        self._table: Boosts | None = None
        self._neighbours: _core.ItemNeighbours | None = None

    def fit(self, log: TrainingLog, rng: np.random.Generator, progress: Progress = no_progress) -> None:
        """Count neighbours in the log. Nothing is random; ``rng`` is there for the protocol."""
        histories = log.histories
        progress(0, 1, "item neighbours")
        with native_errors():
            table = _core.item_knn(
                histories.offsets,
                histories.items,
                log.n_items,
                self.neighbours,
                self.shrinkage,
                self.window if self.directed else None,
            )
            self._table, self._neighbours = table, _core.ItemNeighbours(*table)
        progress(1, 1, "item neighbours")

    def table(self) -> Boosts:
        """K as CSR over the n items: row i holds the items that i speaks for."""
        if self._table is None:
            raise NotFittedError("ItemKNN isn't fitted; call fit(log, rng) or restore(state) first")
        return self._table

    def boosts(self, histories: Histories, *, root: bool = True) -> Boosts:
        """For each history K_ji summed over its events j with their weights, merged by item, ascending.

        Each row is given as ``(K/ΣK)^½``, so that scores of short and long histories have the same scale;
        ``root=False`` gives the sums ``Σ_j ω_j K_ji`` themselves. Raises `ArgumentError` for items outside
        the catalogue.
        """
        self.table()
        assert self._neighbours is not None
        with native_errors():
            return self._neighbours.boosts(histories.offsets, histories.items, histories.weights, root=root)

    def state(self) -> State:
        """``offsets`` i64[n + 1], ``items`` i32[o], ``values`` f32[o]."""
        return dict(zip(("offsets", "items", "values"), self.table()))

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` for arrays that don't fit together."""
        values = restored("ItemKNN", state, "values", (None,))
        for name, kind in (("offsets", np.int64), ("items", np.int32)):
            if name not in state or state[name].dtype != kind or state[name].ndim != 1:
                raise ArtefactError(f"ItemKNN: {name} must be a vector of dtype {np.dtype(kind)}")
        table = np.ascontiguousarray(state["offsets"]), np.ascontiguousarray(state["items"]), values
        try:
            neighbours = _core.ItemNeighbours(*table)
        except ValueError as error:
            raise ArtefactError(f"ItemKNN: {error}") from error
        self._table, self._neighbours = table, neighbours
