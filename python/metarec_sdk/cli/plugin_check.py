"""``metarec plugins check``."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metarec_sdk.cli.output import Json, show, show_json
from metarec_sdk.cli.parameters import parse_by_component
from metarec_sdk.cli.plugin_target import Target, targets
from metarec_sdk.errors import ArgumentError, PluginError, UnknownIdError

if TYPE_CHECKING:
    from metarec_sdk.testing import Report

IMPORT_LIMIT = 30.0
"""Seconds after which an import that doesn't end is given up."""


def check(
    target: Annotated[
        str,
        typer.Argument(help="A plugin, a component, the folder of a distribution or package, or a .py file."),
    ],
    level: Annotated[str, typer.Option(help="The highest level to check: loads, conforms or serves.")] = (
        "serves"
    ),
    param: Annotated[
        list[str] | None,
        typer.Option(help="COMPONENT.NAME=VALUE, such as segments/svm.min_size=8; repeatable."),
    ] = None,
    json: Json = False,
) -> None:
    """Check that a plugin keeps its contract; exit code 1 if a check fails."""
    from metarec_sdk.testing import Level, run_checks

    levels = {str(each): each for each in Level if each is not Level.NONE}
    if level not in levels:
        raise ArgumentError(f"--level {level!r} should be one of {', '.join(levels)}")
    reports: list[Report] = []
    silent: list[str] = []
    chosen = [(found, _components(found)) for found in targets(target)]
    params = parse_by_component(param or (), {name for _, pairs in chosen for _, name in pairs})
    for found, components in chosen:
        if not components:
            silent.append(found.plugin)
        for kind, name in components:
            with redirect_stdout(io.StringIO()):  # it prints its report itself, which --json mustn't
                report = run_checks(
                    name,
                    kind=kind,
                    plugins=found.plugins,
                    params=params.get(name),
                    level=levels[level],
                )
            reports.append(report)
            if not json:
                show(str(report))
    if json:
        show_json([report.to_dict() for report in reports])
    else:
        for plugin in silent:
            show(f"plugin {plugin}: loads; it registers no component, so there is nothing else to check")
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


def _components(target: Target) -> list[tuple[str, str]]:
    """(kind, name) of each component to check.

    Raises `PluginError` where the plugin isn't there or can't be loaded, `UnknownIdError` where it has no
    component of that name.
    """
    from metarec_sdk.plugins import PluginManager, Status
    from metarec_sdk.plugins.records import BUILTIN
    from metarec_sdk.testing.alone import load_alone
    from metarec_sdk.testing.importing import imported

    bare = PluginManager(enabled=False).components()
    if not target.plugins and (own := [record for record in bare if record.name == target.plugin]):
        return [(record.kind, record.name) for record in own]
    if target.plugin != BUILTIN:
        # first in another process: an import that hangs or crashes mustn't take this one with it
        seen = imported(target.plugin, target.plugins, IMPORT_LIMIT)
        if seen.status == "missing":
            raise UnknownIdError(_missing(target.plugin))
        if seen.error:
            raise PluginError(f"plugin {target.plugin!r} is {seen.status}: {seen.error}")
    manager = load_alone(target.plugin, target.plugins)
    (record, *_) = [record for record in manager.records if record.name == target.plugin]
    if record.status is not Status.LOADED:
        raise PluginError(f"plugin {target.plugin!r} is {record.status}: {record.error}")
    pairs: list[Any] = [tuple(text.split(" ", 1)) for text in record.components]
    if target.component is None:
        return pairs
    chosen = [pair for pair in pairs if pair[1] == target.component]
    if not chosen:
        raise UnknownIdError(
            f"plugin {target.plugin!r} has no {target.component!r}; it has {[name for _, name in pairs]}"
        )
    return chosen


def _missing(plugin: str) -> str:
    from metarec_sdk.plugins import PluginManager
    from metarec_sdk.plugins.candidates import installed

    components = sorted({record.name for record in PluginManager(enabled=False).components()})
    plugins = sorted({candidate.name for candidate in installed()})
    return (
        f"there is no file, folder, plugin or built-in component {plugin!r}; "
        f"plugins are {plugins or 'none'}, components {components}"
    )
