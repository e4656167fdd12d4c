"""``metarec recommend``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarec_sdk.cli.ids import converted, read_ids, split_list
from metarec_sdk.cli.output import Json, check_format, frame_table, show, show_json, write_frame
from metarec_sdk.cli.plugin_option import Plugins
from metarec_sdk.errors import ArgumentError

if TYPE_CHECKING:
    import polars as pl

    from metarec_sdk import Recommender

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder written by metarec fit.")]


def recommend(
    model: Model,
    user: Annotated[list[str] | None, typer.Option("--user", help="Id of a known user; repeatable.")] = None,
    history: Annotated[
        list[str] | None,
        typer.Option(help="Items of somebody new, oldest first: i1,i2,i3; repeatable, may be empty."),
    ] = None,
    users_file: Annotated[
        Path | None, typer.Option(help="Ids of known users: one a line, or a column of CSV or Parquet.")
    ] = None,
    users_column: Annotated[str, typer.Option(help="The column of --users-file.")] = "user_id",
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Length of each list.")] = 10,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="Allow items of the history.")] = False,
    allow: Annotated[str | None, typer.Option(help="Only these items: i1,i2.")] = None,
    deny: Annotated[str | None, typer.Option(help="None of these items: i1,i2.")] = None,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Leave out items that the model doesn't know.")
    ] = False,
    task: Annotated[str | None, typer.Option(help="Known task of the people behind --history.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write to this .parquet, .csv, .jsonl or .json file instead.")
    ] = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Recommend items to known users, or to somebody new from a few items."""
    ways = {"--user": bool(user), "--history": history is not None, "--users-file": users_file is not None}
    if sum(ways.values()) != 1:
        given = [way for way, used in ways.items() if used]
        raise ArgumentError(f"give one of --user, --history and --users-file; got {given or 'none of them'}")
    if out is not None:
        check_format(out)
    import metarec_sdk as mr

    recommender = mr.load(model, plugins=plugin or ())
    items = recommender.items.ids
    frame = recommender.recommend(
        _users(recommender, user, users_file, users_column) if history is None else None,
        history=_histories(history, items),
        k=k,
        exclude_seen=not include_seen,
        allow=None if allow is None else converted(split_list(allow), items, "--allow"),
        deny=None if deny is None else converted(split_list(deny), items, "--deny"),
        task=task,
        unknown="ignore" if ignore_unknown else "raise",
    )
    if out is not None:
        write_frame(frame, out)
    if json:
        show_json({"rows": frame.height, "out": str(out)} if out is not None else frame.to_dicts())
    elif out is not None:
        show(f"{frame.height:,} rows written to {out}")
    else:
        show(frame_table(frame))


def _users(
    recommender: Recommender, user: list[str] | None, users_file: Path | None, users_column: str
) -> list[Any]:
    if users_file is not None:
        return read_ids(users_file, users_column, recommender.users, "--users-file")
    return converted(user or (), recommender.users, "--user")


def _histories(history: list[str] | None, items: pl.Series) -> list[list[Any]] | None:
    if history is None:
        return None
    return [converted(split_list(text), items, "--history") for text in history]
