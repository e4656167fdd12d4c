"""``metarec generations``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from metarec_sdk.cli.output import Json, cell, show, show_json
from metarec_sdk.cli.recommend import Model
from metarec_sdk.errors import ArgumentError, ArtefactError

if TYPE_CHECKING:
    from metarec_sdk.updating import GenerationStore


def generations(
    model: Model,
    rollback: Annotated[bool, typer.Option("--rollback", help="Serve the one before again.")] = False,
    to: Annotated[
        str | None, typer.Option(help="Serve this one again; also repairs a damaged current.json.")
    ] = None,
    json: Json = False,
) -> None:
    """List what a model has published, and go back to an earlier generation."""
    from metarec_sdk.updating import GenerationStore

    if rollback and to is not None:
        raise ArgumentError("give either --rollback, for the generation before, or --to GENERATION")
    store = GenerationStore(model)
    if not store.ids():
        raise ArtefactError(f"{model} isn't a model folder: it holds no generation; metarec fit writes one")
    if rollback or to is not None:
        store.rollback(to)
    rows = _rows(store)
    if json:
        show_json(rows)
        return
    table = Table("generation", "parent", "created", "state", title=str(model), title_justify="left")
    for row in rows:
        table.add_row(*(cell(row[name]) for name in ("generation", "parent", "created", "state")))
    show(table)


def _rows(store: GenerationStore) -> list[dict[str, Any]]:
    try:
        current = store.current
    except ArtefactError:
        current = None  # the alias is damaged; the generations can be seen all the same
    whole = {generation.id: generation.manifest for generation in store.list()}
    return [
        {
            "generation": name,
            "parent": whole[name].parent if name in whole else None,
            "created": whole[name].created if name in whole else None,
            "current": name == current,
            "state": ("serves" if name == current else "kept") if name in whole else "damaged",
        }
        for name in store.ids()
    ]
