"""What a linear feedback model sees of an event: a design matrix X, one row an event."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_sdk.errors import ColumnError, DataError

Float64 = NDArray[np.float64]

NUMERIC = ("rating", "dwell", "other_value", "position", "recency", "propensity")
"""The columns of X after those of the event types, in order."""

MICROSECONDS_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class EventFeatures:
    """The design matrix of events, with what a log taught about their scales.

    After an indicator of each event type in ``types`` (an unknown type has none) come

    - ``rating``: the value of a rating event mapped to -1 … 1 by the lowest and highest of the log, else 0,
    - ``dwell``: log(1 + seconds) of a dwell event, else 0,
    - ``other_value``: sign(v)·log(1 + |v|) of the value of any other event, 0 where it has none,
    - ``position``: log(1 + place in the shown list),
    - ``recency``: log(1 + days before the newest event of the log), 0 for newer ones,
    - ``propensity``: log(1 / propensity).

    A missing number takes the mean of its column in the log (of the rating or dwell events there), so that it
    says nothing.
    """

    types: tuple[str, ...] = ()
    lowest_rating: float = 0.0
    highest_rating: float = 0.0
    newest: int = 0
    """Microseconds since 1970 UTC."""
    means: Float64 = field(default_factory=lambda: np.zeros(len(NUMERIC)))
    """f64[6], one a column of `NUMERIC`."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of X."""
        return (*(f"type:{name}" for name in self.types), *NUMERIC)

    @classmethod
    def learn(cls, events: pl.DataFrame) -> EventFeatures:
        """The scales of a log; an empty one is allowed."""
        types = tuple(event_types(events).unique().sort())
        ratings = _values(events)[_is(events, "rating")]
        ratings = ratings[np.isfinite(ratings)]
        newest = 0
        if "timestamp" in events.columns and len(events):
            newest = int(events["timestamp"].max() or 0)  # type: ignore[arg-type]
        lowest, highest = (float(ratings.min()), float(ratings.max())) if len(ratings) else (0.0, 0.0)
        features = cls(types, lowest, highest, newest)
        columns = features._numeric(events)  # [e, 6]
        known = ~np.isnan(columns)
        # The other types' zeros say nothing about how long people dwell or how they rate.
        known[:, NUMERIC.index("rating")] &= _is(events, "rating")
        known[:, NUMERIC.index("dwell")] &= _is(events, "dwell")
        means = np.where(known, columns, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        return replace(features, means=means)

    def matrix(self, events: pl.DataFrame) -> Float64:
        """X f64[e, len(names)] of the events.

        Raises:
            ColumnError: ``event_type`` is missing or a column isn't numeric.
            DataError: a value isn't finite, a dwell is negative or a propensity outside (0, 1].
        """
        indicators = np.column_stack(
            [np.zeros((len(events), 0)), *(_is(events, name) for name in self.types)]
        )  # [e, types]
        numeric = self._numeric(events)  # [e, 6]
        return np.concatenate([indicators, np.where(np.isnan(numeric), self.means, numeric)], axis=1)

    def _numeric(self, events: pl.DataFrame) -> Float64:
        values = _values(events)
        rating, dwell = _is(events, "rating"), _is(events, "dwell")
        seconds = np.where(dwell, values, 0.0)
        if (seconds < 0).any():
            row = int(np.flatnonzero(seconds < 0)[0])
            raise DataError(f"row {row}: value of a dwell event is {seconds[row]} seconds, wanted ≥ 0")
        other = np.where(rating | dwell | np.isnan(values), 0.0, values)
        propensity = propensities(events)
        return np.column_stack(
            [
                np.where(rating, self._scaled_rating(values), 0.0),
                np.log1p(seconds),
                np.sign(other) * np.log1p(np.abs(other)),
                np.log1p(_column(events, "position", lowest=0.0)),
                self._recency(events),
                -np.log(propensity),
            ]
        )

    def _scaled_rating(self, values: Float64) -> Float64:
        spread = self.highest_rating - self.lowest_rating
        if spread == 0:
            return np.zeros_like(values)
        return np.clip(2 * (values - self.lowest_rating) / spread - 1, -1, 1)

    def _recency(self, events: pl.DataFrame) -> Float64:
        if "timestamp" not in events.columns:
            return np.full(len(events), np.nan)
        age = self.newest - _column(events, "timestamp")
        return np.log1p(np.maximum(age, 0) / MICROSECONDS_PER_DAY)


_FEW = 64
"""Events up to which plain Python compares types faster than a query."""


def event_types(events: pl.DataFrame) -> pl.Series:
    """The ``event_type`` column, checked."""
    if "event_type" not in events.columns:
        raise ColumnError.missing("event_type", "event", events.columns)
    column = events["event_type"]
    if column.dtype != pl.String:
        column = column.cast(pl.String)
    if column.null_count():
        row = column.is_null().arg_true()[0]
        raise DataError(f"row {row}: event_type is null; give each event a type, for example 'click'")
    return column


def propensities(events: pl.DataFrame) -> Float64:
    """f64[e], the logged propensity of each event, NaN where none is logged."""
    values = _column(events, "propensity")
    wrong = (values <= 0) | (values > 1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"row {row}: propensity is {values[row]}, wanted a probability in (0, 1]")
    return values


def _is(events: pl.DataFrame, name: str) -> NDArray[np.bool_]:
    column = event_types(events)
    if len(column) <= _FEW:
        return np.fromiter((value == name for value in column.to_list()), np.bool_, len(column))
    return (column == name).to_numpy()


def _values(events: pl.DataFrame) -> Float64:
    return _column(events, "value")


def _column(events: pl.DataFrame, name: str, lowest: float = -np.inf) -> Float64:
    """f64[e]; NaN where null or where there is no such column."""
    if name not in events.columns:
        return np.full(len(events), np.nan)
    column = events[name]
    if not (column.dtype.is_numeric() or column.dtype in (pl.Null, pl.Boolean)):
        raise ColumnError(f"column {name!r} is {column.dtype}, wanted numbers; cast it first")
    nulls = column.null_count()
    numbers: Float64 = column.cast(pl.Float64).to_numpy()  # nulls become NaN
    missing = np.isnan(numbers)
    wrong = np.isinf(numbers) | (numbers < lowest)
    if np.count_nonzero(missing) > nulls:
        wrong |= missing & ~column.is_null().to_numpy()
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"row {row}: {name} is {numbers[row]}, wanted a finite number ≥ {lowest} or null")
    return numbers
