"""The arguments with which a command names a log and its columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from metarec_sdk.errors import ArgumentError

if TYPE_CHECKING:
    from metarec_sdk import Interactions

DATASET = "dataset:"
"""Prefix of a log that is a data set known by name."""

Unit = Literal["s", "ms", "us", "ns"]

Log = Annotated[
    str,
    typer.Argument(
        metavar="LOG",
        help="Parquet, CSV or JSON lines file of events, or dataset:NAME (dataset:movielens-100k).",
    ),
]
User = Annotated[str, typer.Option("--user", help="Column of user ids.")]
Item = Annotated[str, typer.Option("--item", help="Column of item ids.")]
Time = Annotated[str, typer.Option("--time", help="Column of timestamps.")]
NoTime = Annotated[bool, typer.Option("--no-time", help="The log has no times; rows are in order.")]
TimeUnit = Annotated[Unit, typer.Option("--time-unit", help="Unit of integer timestamps.")]
Event = Annotated[str | None, typer.Option("--event", help="Column of event types.")]
Value = Annotated[str | None, typer.Option("--value", help="Column of ratings, seconds of dwell, ...")]
EventId = Annotated[str | None, typer.Option("--event-id", help="Column of unique event ids.")]
DropInvalid = Annotated[bool, typer.Option("--drop-invalid", help="Leave unusable rows out, with a warning.")]


def read_log(
    source: str,
    *,
    user: str,
    item: str,
    time: str,
    no_time: bool,
    time_unit: Unit,
    event: str | None,
    value: str | None,
    event_id: str | None,
    drop_invalid: bool,
    default_event: str = "interaction",
) -> Interactions:
    """The log that the arguments name.

    Raises what `metarec_sdk.read_interactions` and `metarec_sdk.datasets.load` raise, and `ArgumentError` for
    a file that isn't there.
    """
    import metarec_sdk as mr

    if source.startswith(DATASET):
        return mr.datasets.load(source.removeprefix(DATASET)).interactions
    if not any(mark in source for mark in "*?[") and not Path(source).exists():
        raise ArgumentError(f"LOG {source!r} is not there; give a file, or dataset:NAME for a known data set")
    return mr.read_interactions(
        source,
        user=user,
        item=item,
        time=None if no_time else time,
        event=event,
        value=value,
        event_id=event_id,
        default_event=default_event,
        time_unit=time_unit,
        on_invalid="drop" if drop_invalid else "raise",
    )
