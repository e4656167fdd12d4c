"""Linear feedback: R = β₀ + βX + ε turns an event into a target and a weight."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_sdk.errors import (
    ArgumentError,
    ArtefactError,
    ColumnError,
    DataError,
    NotFittedError,
    UnknownIdError,
)
from metarec_sdk.feedback.event_features import NUMERIC, EventFeatures, Float64, event_types, propensities
from metarec_sdk.types import Float32, State

NEUTRAL = 1.0
"""Relevance of an event about which nothing is known."""

PRIORS = {"view": 0.5, "click": 1.0, "cart": 2.0, "purchase": 4.0, "rating": 1.0, "dwell": 0.0}
"""Relevance of each event type before its value counts; every other type has `NEUTRAL`."""

RATING_SLOPE = 1.0
"""The lowest rating of the log has relevance 0, the middle 1, the highest 2."""

DWELL_SLOPE = 1.0 / math.log1p(30.0)
"""Half a minute of dwell is worth a click; the value grows with the logarithm."""


class LinearFeedback:
    """Relevance of an event by linear regression on its type, value, position, recency and propensity.

    ``R = β₀ + βX + ε`` with X as `EventFeatures` describes it.

    - With ``label``, a column of a long-term outcome (a later purchase, days retained, revenue), β is fitted
      to it by ridge-regularised least squares over the events whose label isn't null, each weighed by its
      inverse propensity. The intercept isn't penalised.
    - Without, β is made of documented priors: view ½ < click 1 < cart 2 < purchase 4, a rating by its value
      (lowest of the log 0, highest 2), dwell by the logarithm of its seconds (30 s = 1), any other type 1. A
      log of one single event type says nothing about relative relevance, so every event has target 1
      (the implicit protocol), ratings too.

    The weight of an event is ``max(R, 0)`` times its clipped inverse propensity, scaled so that the mean
    over the log of `fit` is 1.
    Selection bias is corrected as in Schnabel et al., ICML 2016, "Recommendations as Treatments": inverse
    propensity scoring with clipping, normalised by the mean (SNIPS).

    Args:
        label: name of the label column, or None for the priors.
        ridge: penalty on β (not β₀), ≥ 0, in units of events.
        propensity_clip: the largest inverse propensity, ≥ 1; 1 switches the correction off. An event without
            a logged propensity counts 1.
        priors: relevance by event type that replaces or adds to the built-in ones.
        strict: raise `UnknownIdError` for an event type that the log of `fit` didn't have, rather than
            weigh it neutrally (by its prior where there is one, else 1; with a label by β₀ alone).
    """

    def __init__(
        self,
        *,
        label: str | None = None,
        ridge: float = 1.0,
        propensity_clip: float = 10.0,
        priors: Mapping[str, float] | None = None,
        strict: bool = False,
    ) -> None:
        if not (0 <= ridge < math.inf):
            raise ArgumentError(f"ridge must be a finite number ≥ 0, got {ridge}")
        if not (1 <= propensity_clip < math.inf):
            raise ArgumentError(f"propensity_clip must be a finite number ≥ 1, got {propensity_clip}")
        for name, value in (priors or {}).items():
            if not (0 <= value < math.inf):
                raise ArgumentError(f"priors[{name!r}] must be a finite number ≥ 0, got {value}")
        self.label = label
        self.ridge = float(ridge)
        self.propensity_clip = float(propensity_clip)
        self.priors = {**PRIORS, **(priors or {})}
        self.strict = strict
        self._features: EventFeatures | None = None
        self._known: frozenset[str] = frozenset()
        self._intercept = NEUTRAL
        self._coefficients: Float64 = np.zeros(0)
        self._scale = 1.0

    def fit(self, events: pl.DataFrame) -> None:
        """Learn scales and, with a label, coefficients from events in the canonical columns.

        ``event_type`` is needed; ``value``, ``timestamp``, ``position`` and ``propensity`` are used where the
        frame has them. Extra columns are ignored.

        Raises:
            ColumnError: ``event_type`` or the label column is missing, or a column isn't numeric.
            DataError: a value is impossible, no event has a label, or none has a positive relevance.
        """
        features = EventFeatures.learn(events)
        known = frozenset(features.types)
        if self.label is None:
            features, intercept, coefficients = self._from_priors(features)
        else:
            intercept, coefficients = self._from_label(features, events, self.label)
        scale = 1.0
        if len(events):
            relevance = intercept + features.matrix(events) @ coefficients  # [e]
            scale = float(self._raw_weights(relevance, events).mean())
            if not scale > 0:
                raise DataError(
                    f"no event has a positive relevance (label={self.label!r}), so all would weigh 0"
                )
        self._features, self._known = features, known
        self._intercept, self._coefficients, self._scale = intercept, coefficients, scale

    def weigh(self, events: pl.DataFrame) -> tuple[Float32, Float32]:
        """(target f32[e], weight f32[e] ≥ 0): the relevance R of each event and its training weight.

        Raises:
            NotFittedError: before `fit` or `restore`.
            UnknownIdError: with ``strict``, an event type is new.
            ColumnError, DataError: as in `fit`.
        """
        if self._features is None:
            raise NotFittedError("LinearFeedback.weigh needs fit or restore first")
        if self.strict and len(unknown := sorted(set(event_types(events).unique()) - self._known)):
            raise UnknownIdError(f"event types {unknown} are new; the model knows {sorted(self._known)}")
        design = self._features.matrix(events)  # [e, types + 6]
        relevance: Float64 = self._intercept + design @ self._coefficients  # [e]
        weights = self._raw_weights(relevance, events) / self._scale
        return relevance.astype(np.float32), weights.astype(np.float32)

    def coefficients(self) -> dict[str, float]:
        """β₀ as ``intercept`` and β by the name of its column, for reports."""
        if self._features is None:
            raise NotFittedError("LinearFeedback.coefficients needs fit or restore first")
        values = (float(value) for value in self._coefficients)
        return {"intercept": self._intercept, **dict(zip(self._features.names, values))}

    def state(self) -> State:
        """The fitted arrays; texts are UTF-8 bytes of JSON."""
        features = self._features
        if features is None:
            raise NotFittedError("LinearFeedback.state needs fit or restore first")
        names = json.dumps([features.types, sorted(self._known)]).encode()
        scales = [self._intercept, self._scale, features.lowest_rating, features.highest_rating]
        return {
            "types": np.frombuffer(names, np.uint8).copy(),
            "coefficients": self._coefficients.copy(),
            "means": features.means.copy(),
            "scales": np.array(scales, np.float64),
            "newest": np.array([features.newest], np.int64),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave.

        Raises:
            ArtefactError: an array is missing or doesn't fit the others.
        """
        try:
            types, known = json.loads(state["types"].tobytes())
            intercept, scale, lowest, highest = (float(value) for value in state["scales"])
            features = EventFeatures(
                tuple(types), lowest, highest, int(state["newest"][0]), state["means"].copy()
            )
            coefficients = state["coefficients"].astype(np.float64)
            if features.means.shape != (len(NUMERIC),) or coefficients.shape != (len(features.names),):
                raise ValueError(f"coefficients {coefficients.shape} for {len(features.names)} features")
            if not scale > 0:
                raise ValueError(f"scale {scale}")
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise ArtefactError(f"this is no state of a linear feedback model: {error}") from error
        self._features, self._known = features, frozenset(known)
        self._intercept, self._scale, self._coefficients = intercept, scale, coefficients

    def _from_priors(self, features: EventFeatures) -> tuple[EventFeatures, float, Float64]:
        known = features.types
        # Types that the log doesn't have yet keep their prior, so that a first purchase counts as one.
        features = EventFeatures(
            tuple(sorted({*known, *self.priors})),
            features.lowest_rating,
            features.highest_rating,
            features.newest,
            features.means,
        )
        beta = {name: self.priors.get(name, NEUTRAL) - NEUTRAL for name in features.types}
        slopes = {"rating": RATING_SLOPE, "dwell": DWELL_SLOPE}
        if len(known) == 1:
            beta[known[0]] = 0.0
            slopes.pop(known[0], None)
        numeric = (slopes.get(name, 0.0) for name in NUMERIC)
        return features, NEUTRAL, np.array([*beta.values(), *numeric])

    def _from_label(self, features: EventFeatures, events: pl.DataFrame, label: str) -> tuple[float, Float64]:
        from sklearn.linear_model import LinearRegression, Ridge

        if label not in events.columns:
            raise ColumnError.missing(label, "label", events.columns)
        if not (events[label].dtype.is_numeric() or events[label].dtype == pl.Boolean):
            raise ColumnError(
                f"label column {label!r} is {events[label].dtype}, wanted numbers; cast it first"
            )
        targets = events[label].cast(pl.Float64)
        labelled = targets.is_not_null()
        if not labelled.any():
            raise DataError(f"label column {label!r} has no value; use label=None for the priors")
        rows, targets = events.filter(labelled), targets.drop_nulls()
        if not targets.is_finite().all():
            row = labelled.arg_true()[(~targets.is_finite()).arg_true()[0]]
            raise DataError(f"row {row}: label {label!r} isn't finite; drop the row or set it null")
        # Type indicators add up to the intercept. Without a penalty that needs the minimum-norm answer, which
        # Ridge(alpha=0) doesn't give.
        model = Ridge(alpha=self.ridge, solver="cholesky") if self.ridge else LinearRegression()
        weights = self._inverse_propensity(rows)
        model.fit(features.matrix(rows), targets.to_numpy(), sample_weight=weights / weights.mean())
        return float(model.intercept_), np.asarray(model.coef_, np.float64)

    def _raw_weights(self, relevance: Float64, events: pl.DataFrame) -> Float64:
        positive = np.maximum(relevance, 0.0)
        return positive * self._inverse_propensity(events)

    def _inverse_propensity(self, events: pl.DataFrame) -> Float64:
        inverse = 1.0 / propensities(events)
        return np.where(np.isnan(inverse), 1.0, np.minimum(inverse, self.propensity_clip))
