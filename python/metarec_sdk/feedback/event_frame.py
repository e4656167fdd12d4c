"""Events as polars frames: how the log gives them out, and how a frame of new ones becomes events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from metarec_sdk.errors import ColumnError, DataError
from metarec_sdk.feedback.event import Event, new_event_id

LOGGED_COLUMNS: dict[str, type[pl.DataType]] = {
    "timestamp": pl.Int64,
    "event_type": pl.String,
    "value": pl.Float64,
    "row": pl.Int64,
    "event_id": pl.String,
    "seq": pl.Int64,
    "request_id": pl.String,
    "position": pl.Int64,
    "propensity": pl.Float64,
    "generation": pl.String,
    "shown": pl.String,
}
"""Dtype of each column that `EventLog.read` gives, beside ``user_id`` and ``item_id``."""

ID_DTYPES: dict[str, type[pl.DataType]] = {"integer": pl.Int64, "string": pl.String}
"""polars dtype of each kind of id."""


def frame_from_rows(rows: Sequence[tuple[Any, ...]], user_ids: str, item_ids: str) -> pl.DataFrame:
    """Rows in the order ``user_id, item_id, *LOGGED_COLUMNS`` as a frame; kinds are keys of `ID_DTYPES`."""
    schema: dict[str, type[pl.DataType]] = {
        "user_id": ID_DTYPES[user_ids],
        "item_id": ID_DTYPES[item_ids],
        **LOGGED_COLUMNS,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def events_from_frame(frame: pl.DataFrame, *, default_event: str = "click") -> list[Event]:
    """The rows of a frame in the canonical columns as events.

    ``user_id`` and ``item_id`` are needed; ``event_type``, ``value``, ``timestamp`` (int64 microseconds, or a
    polars Datetime), ``event_id``, ``request_id``, ``position``, ``propensity``, ``generation`` and ``shown``
    (JSON text) are taken where they are there. Other columns are not stored. A row without an event id gets a
    new random one, so that appending the same frame twice stores it twice.

    Raises:
        ColumnError: a needed column is missing.
        DataError: ``shown`` isn't JSON; the message names the row.
    """
    for name in ("user_id", "item_id"):
        if name not in frame.columns:
            raise ColumnError.missing(name, name.removesuffix("_id"), frame.columns)
    fields = [name for name in Event.__slots__ if name in frame.columns]
    frame = frame.select(fields)
    if frame.schema.get("timestamp") == pl.Datetime:
        frame = frame.with_columns(pl.col("timestamp").dt.epoch("us"))
    events = []
    for row, values in enumerate(frame.iter_rows(named=True)):
        if values.get("event_id") is None:
            values["event_id"] = new_event_id()
        if values.get("event_type") is None:
            values["event_type"] = default_event
        if values.get("shown") is not None:
            try:
                values["shown"] = json.loads(values["shown"])
            except (TypeError, ValueError, RecursionError) as error:
                raise DataError(f"row {row}: shown isn't JSON text: {error}") from None
        events.append(Event(**values))
    return events
