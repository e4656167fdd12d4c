"""The arguments with which a command names a log and its columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from metarec_sdk.cli.tables import read_entities
from metarec_sdk.errors import ArgumentError

if TYPE_CHECKING:
    import polars as pl

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
ItemsTable = Annotated[
    Path | None, typer.Option(help="Parquet or CSV with item_id and content such as title, genre.")
]
UsersTable = Annotated[Path | None, typer.Option(help="Parquet or CSV with user_id and known attributes.")]
DropInvalid = Annotated[bool, typer.Option("--drop-invalid", help="Leave unusable rows out, with a warning.")]


@dataclass(frozen=True)
class GivenLog:
    """A log with the tables that go with it."""

    log: Interactions
    items: pl.DataFrame | None
    users: pl.DataFrame | None


def read_given(source: str, items: Path | None, users: Path | None, **columns: Any) -> GivenLog:
    """The log and the tables that the arguments name; a known data set brings tables of its own.

    Raises what `read_log` raises.
    """
    if source.startswith(DATASET):
        import metarec_sdk as mr

        found = mr.datasets.load(source.removeprefix(DATASET))
        own_items, own_users = found.items, found.users
        log = found.interactions
    else:
        own_items = own_users = None
        log = read_log(source, **columns)
    return GivenLog(
        log,
        own_items if items is None else read_entities(items, "item_id", log),
        own_users if users is None else read_entities(users, "user_id", log),
    )


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

    Raises what `metarec_sdk.read_interactions` raises, and `ArgumentError` for a file that isn't there.
    """
    if not any(mark in source for mark in "*?[") and not Path(source).exists():
        raise ArgumentError(f"there is no file {source!r}; a known data set is given as dataset:NAME")
    import metarec_sdk as mr

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
