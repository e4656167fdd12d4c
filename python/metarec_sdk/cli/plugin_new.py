"""``metarec plugins new``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from metarec_sdk.cli.output import Json, show, show_json
from metarec_sdk.errors import ArgumentError, MissingDependencyError, StorageError

TEMPLATE = Path(__file__).parent / "plugin_template"


def new(
    folder: Annotated[
        Path, typer.Argument(help="To write to; new or empty. metarec-acme makes a plugin acme.")
    ],
    kind: Annotated[
        str | None, typer.Option(help="Kind of the component, as metarec plugins list calls it.")
    ] = None,
    component: Annotated[str | None, typer.Option(help="Name of the component.")] = None,
    author: Annotated[str | None, typer.Option(help="For the metadata of the distribution.")] = None,
    json: Json = False,
) -> None:
    """Start a plugin: a distribution with one component, tests and CI. Asks for what isn't given."""
    from metarec_sdk.plugins.kinds import KINDS
    from metarec_sdk.plugins.registration import NAME

    if kind is not None and (kind := kind.replace("-", "_")) not in KINDS:
        raise ArgumentError(f"--kind {kind!r} should be one of {', '.join(KINDS)}")
    words = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    plugin = words.removeprefix("metarec-")
    for option, name in (("the folder's name", plugin), ("--component", component)):
        if name is not None and NAME.fullmatch(name) is None:
            raise ArgumentError(f"{option} gives {name!r}, not lower-case words joined by hyphens")
    answers = {"plugin": plugin, "kind": kind, "component": component, "author": author}
    render(folder, {name: answer for name, answer in answers.items() if answer is not None}, ask=not json)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if json:
        show_json({"folder": str(folder), "plugin": plugin, "files": files})
        return
    show(*(f"  {folder / name}" for name in files))
    show(
        f"Next:  metarec plugins check {folder}",
        f"then:  pip install -e '{folder}[dev]'  and  pytest {folder}",
    )


def render(folder: Path, answers: dict[str, Any], *, ask: bool = False) -> None:
    """Write the template to a folder; what isn't answered is asked for on a terminal, else the default.

    Raises `MissingDependencyError` without copier, `StorageError` for a folder with something in it,
    `ArgumentError` for an answer that the template refuses.
    """
    try:
        import copier
        from copier.errors import CopierError
    except ModuleNotFoundError as error:
        raise MissingDependencyError.extra("copier", "plugins", "metarec plugins new") from error
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{folder} exists already and isn't an empty folder; choose another")
    try:
        copier.run_copy(str(TEMPLATE), folder, answers, defaults=not (ask and sys.stdin.isatty()), quiet=True)
    except (CopierError, ValueError) as error:
        raise ArgumentError(f"the plugin can't be written: {error}") from error
