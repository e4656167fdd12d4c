"""The log in its canonical columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import polars as pl

from metarec_sdk.data.cleaning_report import CleaningReport
from metarec_sdk.data.moment import utc
from metarec_sdk.errors import ArgumentError, ColumnError, DataError

REQUIRED = ("user_id", "item_id", "timestamp", "event_type", "value", "row")
"""The canonical columns that every log has, in this order."""

_FIXED = {"timestamp": pl.Int64, "event_type": pl.String, "value": pl.Float64, "row": pl.Int64}
_NEVER_NULL = ("user_id", "item_id", "timestamp", "event_type", "row")


@dataclass(frozen=True)
class Interactions:
    """A log of events; immutable, made by `metarec_sdk.data.read_interactions`.

    The order of events is by ``timestamp``, and by ``row`` where timestamps are equal, so that it never
    depends on a sort's whims.
    """

    frame: pl.DataFrame
    """``user_id`` and ``item_id`` (each Int64 or String), ``timestamp`` (Int64, microseconds since 1970 UTC),
    ``event_type`` (String), ``value`` (Float64, null where absent: a rating, seconds of dwell), ``row``
    (Int64, number of the row in the source, from 0, unique), ``event_id`` (String) where the source has it,
    then the source's other columns under their own names."""
    has_time: bool = True
    """False where the source has no times: ``timestamp`` is then the number of the row."""
    reading: CleaningReport | None = None
    """What was left out on reading with ``on_invalid="drop"``."""

    def __post_init__(self) -> None:
        missing = [column for column in REQUIRED if column not in self.frame.columns]
        if missing:
            raise ColumnError(f"a log needs the columns {list(REQUIRED)}; {missing} are missing")
        for column, dtype in self.frame.schema.items():
            wanted = _FIXED.get(column)
            if wanted is not None and dtype != wanted:
                raise ColumnError(f"column {column!r} of a log must be {wanted}, got {dtype}")
            if column in ("user_id", "item_id") and dtype not in (pl.Int64, pl.String):
                raise ColumnError(f"column {column!r} of a log must be Int64 or String, got {dtype}")
        for column in _NEVER_NULL:
            if self.frame[column].null_count():
                raise DataError(f"column {column!r} of a log can't hold nulls")

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        return f"Interactions({self.n_events} events, {self.n_users} users, {self.n_items} items)"

    @property
    def n_events(self) -> int:
        """Number of rows."""
        return self.frame.height

    @cached_property
    def n_users(self) -> int:
        """Number of distinct users."""
        return self.frame["user_id"].n_unique()

    @cached_property
    def n_items(self) -> int:
        """Number of distinct items."""
        return self.frame["item_id"].n_unique()

    def filter(self, *conditions: pl.Expr | pl.Series) -> Interactions:
        """The events that meet all conditions (polars expressions over `frame`, or boolean series)."""
        return self.replaced(self.frame.filter(*conditions))

    def replaced(self, frame: pl.DataFrame) -> Interactions:
        """The same log with other rows or more columns."""
        return replace(self, frame=frame)

    def in_order(self) -> pl.DataFrame:
        """The frame by time, ties by row."""
        return self.frame.sort("timestamp", "row")

    @staticmethod
    def concat(logs: Sequence[Interactions]) -> Interactions:
        """One log of several, later logs behind earlier ones where timestamps are equal; rows are renumbered.

        Columns that only some logs have are filled with nulls.

        Raises:
            ArgumentError: for no log, or logs with and without times mixed.
            ColumnError: where ids are integers in one log and strings in another.
        """
        if not logs:
            raise ArgumentError("concat needs at least one log")
        if len({log.has_time for log in logs}) > 1:
            raise ArgumentError("logs with and without times can't be put together")
        for column in ("user_id", "item_id"):
            dtypes = {log.frame.schema[column] for log in logs}
            if len(dtypes) > 1:
                raise ColumnError(
                    f"{column!r} is of different dtypes in the logs: {dtypes}; cast one of them"
                )
        ordered = [log.frame.sort("row").drop("row") for log in logs]
        frame = pl.concat(ordered, how="diagonal_relaxed").with_row_index("row")
        frame = frame.with_columns(pl.col("row").cast(pl.Int64))
        if not logs[0].has_time:
            frame = frame.with_columns(timestamp=pl.col("row"))
        extra = [column for column in frame.columns if column not in REQUIRED]
        return Interactions(frame.select(*REQUIRED, *extra), logs[0].has_time)

    def describe(self) -> dict[str, Any]:
        """Counts, density, median events a user and an item, event types, range of times; JSON-able."""
        summary: dict[str, Any] = {"events": self.n_events, "users": self.n_users, "items": self.n_items}
        if self.n_events == 0:
            return summary
        pairs = self.frame.select(pl.struct("user_id", "item_id").n_unique()).item()
        summary["density"] = pairs / (self.n_users * self.n_items)
        for name, column in (("user", "user_id"), ("item", "item_id")):
            summary[f"median_events_per_{name}"] = self.frame[column].value_counts()["count"].median()
        types = (
            self.frame["event_type"].value_counts().sort(["count", "event_type"], descending=[True, False])
        )
        summary["event_types"] = dict(zip(types["event_type"], types["count"]))
        if self.has_time:
            times = self.frame["timestamp"]
            summary["first"] = utc(int(times[times.arg_min() or 0])).isoformat()
            summary["last"] = utc(int(times[times.arg_max() or 0])).isoformat()
        return summary
