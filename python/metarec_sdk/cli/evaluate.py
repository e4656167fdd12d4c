"""``metarec evaluate``."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated, Literal

import typer

from metarec_sdk.cli import log_arguments as of_log
from metarec_sdk.cli.ids import split_list
from metarec_sdk.cli.output import Json, plain, show, show_json
from metarec_sdk.cli.plugin_option import Plugins
from metarec_sdk.cli.recommend import Model
from metarec_sdk.errors import ArgumentError


def evaluate(
    model: Model,
    log: of_log.Log,
    protocol: Annotated[
        Literal["cold-start", "warm", "both", "leave-one-out"],
        typer.Option(help="What is measured, and how."),
    ] = "cold-start",
    seeds: Annotated[int, typer.Option(help="How many seeds to train with: 0, 1, ...")] = 1,
    baselines: Annotated[str, typer.Option(help="all, none, or names: popularity,ease.")] = "all",
    out: Annotated[Path | None, typer.Option(help="Also write the report to this .json file.")] = None,
    user: of_log.User = "user_id",
    item: of_log.Item = "item_id",
    time: of_log.Time = "timestamp",
    no_time: of_log.NoTime = False,
    time_unit: of_log.TimeUnit = "s",
    event: of_log.Event = None,
    value: of_log.Value = None,
    event_id: of_log.EventId = None,
    drop_invalid: of_log.DropInvalid = False,
    items_table: of_log.ItemsTable = None,
    users_table: of_log.UsersTable = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Compare the model's recipe with tuned baselines on a log: full ranking, paired intervals.

    The recipe is trained afresh on the training part of the log, so that nothing is judged on what it has
    seen.
    """
    if seeds < 1:
        raise ArgumentError(f"--seeds must be ≥ 1, got {seeds}")
    if out is not None and out.suffix != ".json":
        raise ArgumentError(f"--out {str(out)!r} should end in .json")
    import metarec_sdk as mr
    from metarec_sdk.recommender.progress import steps

    recommender = mr.load(model, plugins=plugin or ())
    given = of_log.read_given(
        log,
        items_table,
        users_table,
        user=user,
        item=item,
        time=time,
        no_time=no_time,
        time_unit=time_unit,
        event=event,
        value=value,
        event_id=event_id,
        drop_invalid=drop_invalid,
    )
    with steps(None) as step, step("evaluate") as progress:
        report = mr.evaluate(
            recommender,
            given.log,
            protocol=protocol,
            seeds=range(seeds),
            baselines=_names(baselines),
            items=given.items,
            users=given.users,
            progress=progress,
        )
    if out is not None:
        out.write_text(
            json_text.dumps(plain(report.to_dict()), ensure_ascii=False, indent=2), encoding="utf-8"
        )
    if json:
        show_json(report.to_dict())
    else:
        show(report.table())


def _names(baselines: str) -> str | list[str]:
    if baselines == "all":
        return baselines
    return [] if baselines == "none" else split_list(baselines)
