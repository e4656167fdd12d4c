"""``metarec generations``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from metarec_sdk.cli.output import Json, show, show_json
from metarec_sdk.cli.recommend import Model


def generations(
    model: Model,
    rollback: Annotated[bool, typer.Option("--rollback", help="Serve the one before again.")] = False,
    to: Annotated[str | None, typer.Option(help="With --rollback: serve this one again.")] = None,
    json: Json = False,
) -> None:
    """List what a model has published, and go back to an earlier generation."""
    import metarec_sdk as mr

    recommender = mr.load(model)
    if rollback or to is not None:
        recommender.rollback(to)
    rows = [
        {
            "generation": generation.id,
            "parent": generation.manifest.parent,
            "created": generation.manifest.created,
            "current": generation.id == recommender.generation,
        }
        for generation in recommender.generations()
    ]
    if json:
        show_json(rows)
        return
    table = Table("generation", "parent", "created", "serves", title=str(model), title_justify="left")
    for row in rows:
        table.add_row(
            str(row["generation"]),
            str(row["parent"] or "–"),
            str(row["created"]),
            "now" if row["current"] else "",
        )
    show(table)
