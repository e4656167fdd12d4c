"""What an event shows, as small numbers: its type, hour, pause before it, value or any column of the log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, ArtefactError, ColumnError, DataError
from metarec_sdk.types import Float64, Int32, Int64

TIMED = ("gap", "hour", "weekday")
"""Aspects that a log without times doesn't show."""
_SECOND = 1_000_000
_GAPS = {
    1: "under 1 s",
    10: "under 10 s",
    60: "under 1 min",
    600: "under 10 min",
    3_600: "under 1 h",
    86_400: "under 1 day",
    604_800: "under 1 week",
}
_BINS = 10


@dataclass(frozen=True, slots=True)
class Coded:
    """Events by user (in sorted order) and time, ties as in the log."""

    offsets: Int64
    """i64[u + 1]; the events of user i are ``offsets[i] … offsets[i + 1] - 1``."""
    codes: Int32
    """i32[e, a], one column an aspect; 0 for a null and for what the fit didn't see."""

    @property
    def lengths(self) -> Int64:
        """i64[u], events of each user."""
        return np.diff(self.offsets)

    @property
    def users(self) -> Int64:
        """i64[e], the user of each event."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def take(self, users: Int64) -> Coded:
        """The events of the given users, in that order."""
        rows = [np.arange(self.offsets[user], self.offsets[user + 1]) for user in users]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in rows])]).astype(np.int64)
        return Coded(offsets, self.codes[np.concatenate(rows)])


class Aspects:
    """The chosen aspects and the values of each that the fit saw.

    ``event_type``; ``gap``, the time since the person's event before, in eight classes from under a second to
    over a week, and ``first`` for the first event; ``hour`` 0 … 23 and ``weekday`` 1 … 7 in UTC; ``value`` by
    the deciles of the fit. Any other name is a column of the log, whose values are categories.
    """

    def __init__(self, names: Sequence[str], most: int) -> None:
        """names: of the aspects, each once. most: values kept of an aspect, the most frequent ones.

        Raises `ArgumentError` for no name, a name given twice, a text in place of a list, or most < 1.
        """
        if isinstance(names, str) or not names or not all(isinstance(name, str) for name in names):
            raise ArgumentError(f"aspects must be a list of names such as ['event_type'], got {names!r}")
        if len(set(names)) < len(names):
            raise ArgumentError(f"aspects names one twice: {list(names)}")
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise ArgumentError(f"categories must be an integer ≥ 1, got {most!r}")
        self.names = list(names)
        self._most = most
        self.labels: list[list[str]] = []
        """Of each aspect the values behind the codes 1, 2, …"""
        self._edges: list[float] = []

    @property
    def sizes(self) -> list[int]:
        """Codes of each aspect: its values, and 0."""
        return [len(labels) + 1 for labels in self.labels]

    def fit(self, events: pl.DataFrame) -> Coded:
        """Learn the values, and code the events.

        Raises `DataError` for no events, `ColumnError` for a column that isn't there or holds lists.
        """
        if not events.height:
            raise DataError("there are no events to learn a behaviour model from")
        ordered = _ordered(events)
        self._edges = _edges(ordered) if "value" in self.names else []
        self.labels = []
        for name in self.names:
            counts = self._shown(ordered, name).drop_nulls().value_counts(name="events")
            counts = counts.sort(["events", name], descending=[True, False])
            self.labels.append(sorted(counts[name].head(self._most)))
        return self._coded(ordered)

    def encode(self, events: pl.DataFrame) -> Coded:
        """Code the events by the values of the fit; raises `ColumnError` as `fit` does."""
        return self._coded(_ordered(events))

    def array(self) -> NDArray[np.uint8]:
        """All that the fit learned, as the UTF-8 of JSON, u8[…]."""
        known = {"names": self.names, "labels": self.labels, "edges": self._edges}
        return np.frombuffer(json.dumps(known).encode(), np.uint8).copy()

    def restore(self, array: NDArray[np.uint8]) -> None:
        """Take back what `array` gave; raises `ArtefactError` for anything else or for other aspects."""
        try:
            known = json.loads(np.asarray(array, np.uint8).tobytes())
            names, labels, edges = known["names"], known["labels"], known["edges"]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtefactError(f"the array 'aspects' can't be read: {error}") from error
        if names != self.names or len(labels) != len(names):
            raise ArtefactError(f"the state is of the aspects {names}, this model has {self.names}")
        self.labels, self._edges = labels, edges

    def _coded(self, ordered: pl.DataFrame) -> Coded:
        columns = [
            self._shown(ordered, name)
            .replace_strict(labels, list(range(1, len(labels) + 1)), default=0, return_dtype=pl.Int32)
            .fill_null(0)
            .to_numpy()
            for name, labels in zip(self.names, self.labels)
        ]
        lengths = ordered["user_id"].rle().struct.field("len").cast(pl.Int64).to_numpy()
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Coded(offsets, np.stack(columns, axis=1).astype(np.int32))

    def _shown(self, ordered: pl.DataFrame, name: str) -> pl.Series:
        """Text[e], null where the event doesn't show it."""
        if name in TIMED:
            if "timestamp" not in ordered.columns:
                return pl.Series(name, [None] * ordered.height, pl.String)
            moment = pl.from_epoch("timestamp", "us")
            shown = {
                "gap": _gap(),
                "hour": moment.dt.hour().cast(pl.String),
                "weekday": moment.dt.weekday().cast(pl.String),
            }[name]
            return ordered.select(shown.alias(name)).to_series()
        if name not in ordered.columns:
            raise ColumnError.missing(name, "aspects", ordered.columns)
        column = ordered[name]
        if name == "value":
            values = column.cast(pl.Float64).fill_nan(None)
            place = np.searchsorted(np.array(self._edges), values.fill_null(0.0).to_numpy())
            return pl.Series(name, place).cast(pl.String).set(values.is_null(), None)
        if column.dtype.is_nested():
            raise ColumnError(f"column {name!r} is {column.dtype}; an aspect needs one value an event")
        return column.cast(pl.String)


def _ordered(events: pl.DataFrame) -> pl.DataFrame:
    if "user_id" not in events.columns:
        raise ColumnError.missing("user_id", "user", events.columns)
    if "timestamp" not in events.columns:
        return events.sort("user_id", maintain_order=True)
    if events["timestamp"].null_count():
        row = events["timestamp"].is_null().arg_max()
        raise DataError(f"row {row}: timestamp is null; drop the column for a log without times")
    return events.sort("user_id", "timestamp", maintain_order=True)


def _gap() -> pl.Expr:
    seconds = (pl.col("timestamp") - pl.col("timestamp").shift(1)) / _SECOND
    first = pl.col("user_id") != pl.col("user_id").shift(1)
    named = pl.lit("a week or more")
    for bound, label in reversed(_GAPS.items()):
        named = pl.when(seconds < bound).then(pl.lit(label)).otherwise(named)
    return pl.when(first.fill_null(True)).then(pl.lit("first")).otherwise(named)


def _edges(ordered: pl.DataFrame) -> list[float]:
    """The distinct deciles of the values; a value is in the class of the first edge that isn't below it."""
    if "value" not in ordered.columns:
        raise ColumnError.missing("value", "aspects", ordered.columns)
    values: Float64 = ordered["value"].cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy()
    if not len(values):
        return []
    inner = np.quantile(values, np.arange(1, _BINS) / _BINS, method="inverted_cdf")
    return [float(edge) for edge in np.unique(inner)]
