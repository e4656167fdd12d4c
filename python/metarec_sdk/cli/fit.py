"""``metarec fit``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from metarec_sdk.cli import log_arguments as of_log
from metarec_sdk.cli import parameters
from metarec_sdk.cli.output import Json, show, show_json
from metarec_sdk.cli.plugin_option import Plugins
from metarec_sdk.errors import StorageError


def fit(
    log: of_log.Log,
    out: Annotated[Path, typer.Option("--out", help="Model folder to write; new or empty.")],
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
    backbone: Annotated[str, typer.Option(help="sasrec, factors or plugin/name.")] = "sasrec",
    clusterer: Annotated[
        str | None, typer.Option(help="kmeans, column, none or plugin/name.", show_default="kmeans")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column whose values are the tasks; selects the clusterer column.")
    ] = None,
    meta_learner: Annotated[
        str, typer.Option(help="closed-form, reptile, maml, fomaml, anil, none or plugin/name.")
    ] = "closed-form",
    head: Annotated[str, typer.Option(help="natpar, ridge or plugin/name.")] = "natpar",
    item_item: Annotated[str, typer.Option(help="item-knn or plugin/name.")] = "item-knn",
    feedback: Annotated[str, typer.Option(help="linear or plugin/name.")] = "linear",
    behaviour: Annotated[str, typer.Option(help="counts or plugin/name.")] = "counts",
    content: Annotated[str, typer.Option(help="table or plugin/name.")] = "table",
    reranker: Annotated[str | None, typer.Option(help="mmr or plugin/name.")] = None,
    rule: Annotated[str | None, typer.Option(help="quota or plugin/name.")] = None,
    order: Annotated[
        Literal["auto", "time", "none"],
        typer.Option(
            help="What the order of a user's events means: time, none for sets, or auto to find out."
        ),
    ] = "auto",
    plugin: Plugins = None,
    param: Annotated[
        list[str] | None, typer.Option(help="KIND.NAME=VALUE, such as backbone.factors=32; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same model.")] = 0,
    json: Json = False,
) -> None:
    """Train on a log of events and write a model folder."""
    import metarec_sdk as mr

    params = parameters.parse(param or ())
    if column is not None:
        params.setdefault("clusterer", {})["column"] = column
    recommender = mr.Recommender(
        backbone=backbone,
        clusterer=clusterer or ("kmeans" if column is None else "column"),
        meta_learner=meta_learner,
        head=head,
        item_item=item_item,
        feedback=feedback,
        behaviour=behaviour,
        content=content,
        reranker=reranker,
        rule=rule,
        plugins=plugin or (),
        params=params,
        seed=seed,
        order=order,
    )
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
    with reserved(out):
        report = recommender.fit(given.log, items=given.items, users=given.users)
        recommender.save(out)
    if json:
        summary: dict[str, Any] = {"model": str(out), **report.to_dict()}
        show_json(summary)
        return
    show(str(report))
    if report.bands:
        show(report.table())
    show(f"Model written to {out}. Next:  metarec recommend {out} --user {recommender.users[0]}")


@contextmanager
def reserved(out: Path) -> Iterator[None]:
    """Make the folder before an hour of training finds that it can't be made; take it away if that fails.

    Raises `StorageError` where it exists with something in it, `OSError` where it can't be made.
    """
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise StorageError(f"--out {out} isn't empty; choose another folder or remove it")
    try:
        yield
    except BaseException:
        if made and not any(out.iterdir()):
            out.rmdir()
        raise
