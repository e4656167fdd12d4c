"""``metarec observe``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarec_sdk.cli.ids import converted
from metarec_sdk.cli.log_arguments import DropInvalid, TimeUnit, read_log
from metarec_sdk.cli.output import Json, show, show_json
from metarec_sdk.cli.plugin_option import Plugins
from metarec_sdk.cli.recommend import Model
from metarec_sdk.errors import ArgumentError

if TYPE_CHECKING:
    import polars as pl

    from metarec_sdk import Interactions, Recommender


def observe(
    model: Model,
    user: Annotated[str | None, typer.Option("--user", help="Id of the user.")] = None,
    item: Annotated[str | None, typer.Option("--item", help="Id of the item.")] = None,
    event: Annotated[
        str, typer.Option(help="Event type: view, click, cart, purchase, rating, ...")
    ] = "click",
    value: Annotated[float | None, typer.Option(help="Rating, or seconds of dwell.")] = None,
    timestamp: Annotated[
        int | None, typer.Option(help="Microseconds since 1970 UTC.", show_default="now")
    ] = None,
    event_id: Annotated[str | None, typer.Option(help="Makes repeating the command harmless.")] = None,
    file: Annotated[Path | None, typer.Option(help="Many events: Parquet, CSV or JSON lines.")] = None,
    user_column: Annotated[str, typer.Option(help="Column of --file.")] = "user_id",
    item_column: Annotated[str, typer.Option(help="Column of --file.")] = "item_id",
    time_column: Annotated[str, typer.Option(help="Column of --file.")] = "timestamp",
    no_time: Annotated[bool, typer.Option("--no-time", help="--file has no times: it is all now.")] = False,
    event_column: Annotated[
        str | None, typer.Option(help="Column of --file; without it every event is --event.")
    ] = None,
    value_column: Annotated[str | None, typer.Option(help="Column of --file.")] = None,
    event_id_column: Annotated[
        str | None, typer.Option(help="Column of --file that makes repeating the command harmless.")
    ] = None,
    time_unit: TimeUnit = "s",
    drop_invalid: DropInvalid = False,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Log what users did, durably; their next recommendations know of it."""
    if file is None and (user is None or item is None):
        raise ArgumentError("give --user and --item for one event, or --file for many")
    if file is not None and (user is not None or item is not None):
        raise ArgumentError(
            "give either --file, or --user and --item; columns of the file are --user-column, ..."
        )
    import metarec_sdk as mr

    recommender = mr.load(model, plugins=plugin or ())
    if file is None:
        sequence = [
            recommender.observe(
                converted([user or ""], recommender.users, "--user")[0],
                converted([item or ""], recommender.items.ids, "--item")[0],
                event,
                value=value,
                timestamp=timestamp,
                event_id=event_id,
            )
        ]
    else:
        log = read_log(
            str(file),
            user=user_column,
            item=item_column,
            time=time_column,
            no_time=no_time,
            time_unit=time_unit,
            event=event_column,
            value=value_column,
            event_id=event_id_column,
            drop_invalid=drop_invalid,
            default_event=event,
        )
        sequence = recommender.observe_many(_as_the_model_has_them(recommender, log))
    if json:
        show_json({"events": len(sequence), "first_sequence": sequence[0], "last_sequence": sequence[-1]})
    else:
        show(
            f"{len(sequence):,} logged, through number {sequence[-1]:,}. "
            f"They count at once; to learn from them:  metarec update {model}"
        )


def _as_the_model_has_them(recommender: Recommender, log: Interactions) -> pl.DataFrame:
    """The events with text ids where the model's are text, and without times that are only row numbers."""
    import polars as pl

    known: dict[str, Any] = {"user_id": recommender.users, "item_id": recommender.items.ids}
    text = [name for name, ids in known.items() if len(ids) and isinstance(ids[0], str)]
    frame = log.in_order().with_columns(pl.col(text).cast(pl.String))
    return frame if log.has_time else frame.drop("timestamp")
