"""Item-item neighbours by cosine or regression: a history's sparse boosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk import _core
from metarec_sdk.errors import ArgumentError, ArtefactError, NotFittedError
from metarec_sdk.heads.item_regression import regression_table
from metarec_sdk.heads.native_errors import native_errors
from metarec_sdk.heads.parameters import number, restored, whole
from metarec_sdk.protocols import Boosts
from metarec_sdk.types import Float32, Histories, Progress, State, TrainingLog, no_progress

MOST_REGRESSED = 10_000
"""Items of a catalogue that a regression is solved for: 0.8 GB, half a minute."""


class ItemKNN:
    """What a history's items say for others, the best neighbours of each kept.

    By default a shrunk cosine: ``K_ij = c_ij / (√(c_i c_j) + shrinkage)``. Symmetric: c_ij is the number of
    users with both items (an item counts once a user) and c_i the number of users of i (Sarwar et al. 2001).
    Directed: c_ij counts how often j is among the ``window`` events after i and c_i the events of i, so that
    order matters.

    With ``regression``: K_ij is the positive part of EASE's B_ij with λ = ``regularization``, see
    `metarec_sdk.heads.item_regression`; it discounts what other items of the history explain already, and
    takes 8 n² bytes and n³ time to fit, so n is at most `MOST_REGRESSED`. With ``content`` besides, the
    cosine of two items' content, where positive, counts like ``content_people`` × cosine more people with
    both: items that few have taken are neighbours of what they are like.

    Weights of events don't count here; those of a history do in `boosts`.
    """

    def __init__(
        self,
        *,
        directed: bool = False,
        regression: bool = False,
        content: bool = False,
        neighbours: int = 100,
        shrinkage: float = 10.0,
        window: int = 10,
        regularization: float = 500.0,
        content_people: float = 20.0,
    ) -> None:
        if directed and regression:
            raise ArgumentError("a regression has no direction: choose directed=True or regression=True")
        if content and not regression:
            raise ArgumentError("content=True needs regression=True: a cosine doesn't read contents")
        self.regression = regression
        self.content = content
        self.directed = directed
        self.neighbours = whole("neighbours", neighbours, 1, 100_000)
        self.shrinkage = number("shrinkage", shrinkage, least=0.0)
        self.window = whole("window", window, 1, 1_000_000)
        self.regularization = number("regularization", regularization, above=0.0)
        self.content_people = number("content_people", content_people, least=0.0)
        self._table: Boosts | None = None
        self._neighbours: _core.ItemNeighbours | None = None

    def fit(self, log: TrainingLog, rng: np.random.Generator, progress: Progress = no_progress) -> None:
        """Learn neighbours from the log. Nothing is random; ``rng`` is there for the protocol.

        Raises `ArgumentError` for a regression over more than `MOST_REGRESSED` items, and with ``content``
        for a log without content features.
        """
        progress(0, 1, "item neighbours")
        table = self._regressed(log) if self.regression else self._cosine(log)
        with native_errors():
            self._table, self._neighbours = table, _core.ItemNeighbours(*table)
        progress(1, 1, "item neighbours")

    def _cosine(self, log: TrainingLog) -> Boosts:
        histories = log.histories
        with native_errors():
            return _core.item_knn(
                histories.offsets,
                histories.items,
                log.n_items,
                self.neighbours,
                self.shrinkage,
                self.window if self.directed else None,
            )

    def _regressed(self, log: TrainingLog) -> Boosts:
        if log.n_items > MOST_REGRESSED:
            raise ArgumentError(
                f"a regression over {log.n_items:,} items takes {8 * log.n_items**2 / 1e9:.1f} GB; the bound "
                f"is {MOST_REGRESSED:,} items, use regression=False"
            )
        alike = self._alike(log) if self.content else None
        return regression_table(log.histories, log.n_items, self.regularization, self.neighbours, alike)

    def _alike(self, log: TrainingLog) -> Float32:
        """f32[n, c], content features of length √content_people; 0 stays 0."""
        features = log.item_features
        if features is None:
            raise ArgumentError("content=True needs content features; pass items=, a table with content")
        length = np.linalg.norm(features, axis=1, keepdims=True)
        scaled = features * (np.sqrt(self.content_people) / np.where(length > 0, length, 1.0))
        return np.ascontiguousarray(scaled, np.float32)

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
