"""Relevance of an event by regression trees on a long-term outcome.

One tree (Breiman et al., Classification and Regression Trees, 1984), or a sum of small ones, each fitted to
what the ones before leave unexplained (Friedman, Annals of Statistics 2001). They see the same description of
an event as the built-in ``linear`` (`metarec_sdk.feedback.EventFeatures`) and find by themselves where a
value counts only together with another, such as a long dwell on a high position. Fitted by scikit-learn,
applied here, so that the state is plain arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_feedback.columns_and_states import (
    answer,
    as_bytes,
    as_texts,
    fitted,
    labelled,
    mean_weight,
    numbers,
    restored,
)
from metarec_sdk.errors import ArgumentError, DataError
from metarec_sdk.feedback import EventFeatures
from metarec_sdk.types import Float32, Float64, State

_NAMES = (
    "types", "means", "scales", "newest", "left", "right", "feature", "threshold", "value", "start", "base",
)  # fmt: skip


class TreeFeedback:
    """One tree. Target: the expected label R. Weight: ``max(R, 0)`` by the clipped inverse propensity.

    Weights have the mean 1 over the log of `fit`.
    """

    name = "feedback/tree"

    def __init__(
        self, *, label: str = "label", depth: int = 6, min_events: int = 50, propensity_clip: float = 10.0
    ) -> None:
        """label: numeric column of the outcome; rows where it is null aren't learned from.

        depth: of a tree, at most. min_events: in a leaf, at least. propensity_clip: the largest inverse
        propensity, 1 switches the correction off.

        Raises `ArgumentError` for a number out of range.
        """
        for name, value in {
            "depth": depth,
            "min_events": min_events,
            "propensity_clip": propensity_clip,
        }.items():
            if not 1 <= value < np.inf:
                raise ArgumentError(f"{name} must be ≥ 1 and finite, got {value}")
        self.label = label
        self.depth = depth
        self.min_events = min_events
        self.propensity_clip = propensity_clip
        self._state: State = {}

    def fit(self, events: pl.DataFrame) -> None:
        """Learn from events with ``event_type`` and the label; the other canonical columns where they are.

        Raises `ColumnError` for a missing or non-numeric column, `DataError` for impossible values, for no
        label at all and where every prediction is ≤ 0.
        """
        features = EventFeatures.learn(events)
        rows, targets = labelled(events, self.label)
        trees, base = self._trees(features.matrix(rows), targets, self._inverse_propensity(rows))
        size = [tree.node_count for tree in trees]
        self._state = {
            "types": as_bytes(list(features.types)),
            "means": features.means,
            "scales": np.array([features.lowest_rating, features.highest_rating, 1.0]),
            "newest": np.array([features.newest], np.int64),
            "left": np.concatenate([tree.children_left for tree in trees]).astype(np.int32),
            "right": np.concatenate([tree.children_right for tree in trees]).astype(np.int32),
            "feature": np.concatenate([tree.feature for tree in trees]).astype(np.int32),
            "threshold": np.concatenate([tree.threshold for tree in trees]),
            "value": np.concatenate([tree.value[:, 0, 0] for tree in trees]) * self._rate,
            "start": np.concatenate([[0], np.cumsum(size)]).astype(np.int64),
            "base": np.array([base]),
        }
        self._state["scales"][2] = mean_weight(self._weights(self._relevance(events), events))

    def weigh(self, events: pl.DataFrame) -> tuple[Float32, Float32]:
        """(target f32[e], weight f32[e] ≥ 0); an event type that the fit didn't have has no indicator."""
        relevance = self._relevance(events)
        return answer(relevance, self._weights(relevance, events), float(self._state["scales"][2]))

    def state(self) -> State:
        """The description's scales; of every node ``left``, ``right`` (-1 in a leaf), ``feature``,
        ``threshold`` and ``value``; ``start`` i64[trees + 1] of the nodes; ``base`` f64[1]."""
        return dict(fitted(self._state, self.name))

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` where an array is missing."""
        self._state = restored(self.name, state, _NAMES)

    _rate = 1.0

    def _trees(self, x: Float64, targets: Float64, weights: Float64) -> tuple[list[Any], float]:
        """(trees, what they are added to)."""
        from sklearn.tree import DecisionTreeRegressor

        model = DecisionTreeRegressor(max_depth=self.depth, min_samples_leaf=self.min_events, random_state=0)
        return [model.fit(x, targets, sample_weight=weights).tree_], 0.0

    def _relevance(self, events: pl.DataFrame) -> Float64:
        state = fitted(self._state, self.name)
        lowest, highest, _ = state["scales"]
        features = EventFeatures(
            tuple(as_texts(state["types"])), lowest, highest, int(state["newest"][0]), state["means"]
        )
        x = features.matrix(events).astype(np.float32)  # the trees' thresholds were found in f32
        total = np.full(len(x), state["base"][0])
        row = np.arange(len(x))
        for start in state["start"][:-1]:
            node = np.full(len(x), start)
            while (inside := state["left"][node] >= 0).any():
                lower = x[row, np.maximum(state["feature"][node], 0)] <= state["threshold"][node]
                below = np.where(lower, state["left"][node], state["right"][node]) + start
                node = np.where(inside, below, node)
            total += state["value"][node]
        return total

    def _weights(self, relevance: Float64, events: pl.DataFrame) -> Float64:
        return np.maximum(relevance, 0.0) * self._inverse_propensity(events)

    def _inverse_propensity(self, events: pl.DataFrame) -> Float64:
        """f64[e], 1 where none is logged (clipped inverse propensities: Schnabel et al., ICML 2016)."""
        if "propensity" not in events.columns:
            return np.ones(len(events))
        logged = numbers(events, "propensity", "propensity")
        if ((logged <= 0) | (logged > 1)).any():
            row = int(np.flatnonzero((logged <= 0) | (logged > 1))[0])
            raise DataError(f"row {row}: propensity is {logged[row]}, wanted a probability in (0, 1]")
        return np.where(np.isnan(logged), 1.0, np.minimum(1 / logged, self.propensity_clip))


class BoostedFeedback(TreeFeedback):
    """A sum of small trees; slower to fit than one, smoother and usually closer."""

    name = "feedback/boosting"

    def __init__(
        self,
        *,
        label: str = "label",
        trees: int = 100,
        rate: float = 0.1,
        depth: int = 3,
        min_events: int = 50,
        propensity_clip: float = 10.0,
    ) -> None:
        """trees: fitted one after another. rate: the share of each that is added, in (0, 1]. The rest as in
        `TreeFeedback`."""
        super().__init__(label=label, depth=depth, min_events=min_events, propensity_clip=propensity_clip)
        if trees < 1 or not 0 < rate <= 1:
            raise ArgumentError(f"trees must be ≥ 1 and rate in (0, 1], got {trees} and {rate}")
        self.trees = trees
        self._rate = rate

    def _trees(self, x: Float64, targets: Float64, weights: Float64) -> tuple[list[Any], float]:
        from sklearn.ensemble import GradientBoostingRegressor

        model = GradientBoostingRegressor(
            n_estimators=self.trees,
            learning_rate=self._rate,
            max_depth=self.depth,
            min_samples_leaf=self.min_events,
            random_state=0,
        ).fit(x, targets, sample_weight=weights)
        return [tree.tree_ for tree in model.estimators_[:, 0]], float(np.average(targets, weights=weights))
