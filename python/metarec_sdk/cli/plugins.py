"""``metarec plugins list | show``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from metarec_sdk.cli.output import Json, fields, show, show_json

app = typer.Typer(no_args_is_help=True, help="See what is installed and what can be selected by name.")


@app.command("list", epilog="Example:  metarec plugins list --kind clusterer")
def list_plugins(
    kind: Annotated[
        str | None, typer.Option(help="Only this kind: backbone, clusterer, meta_learner, head, feedback.")
    ] = None,
    json: Json = False,
) -> None:
    """List plugins with their status, and the components to choose from."""
    from metarec_sdk.plugins import PluginManager

    manager = PluginManager()
    components = manager.components(kind)
    if json:
        show_json(
            {
                "plugins": [record.to_dict() for record in manager.records],
                "components": [record.to_dict() for record in components],
            }
        )
        return
    plugins = Table(title="Plugins", title_justify="left")
    for name in ("plugin", "distribution", "version", "status", "import", "why"):
        plugins.add_column(name, overflow="fold")
    for plugin in manager.records:
        style = {"loaded": "green", "disabled": "dim"}.get(plugin.status, "red")
        plugins.add_row(
            plugin.name,
            plugin.distribution or "–",
            plugin.version or "–",
            Text(plugin.status, style),
            f"{plugin.import_seconds * 1e3:.1f} ms",
            Text(plugin.error or ""),
        )
    chosen = Table(title="Components", title_justify="left")
    for name in ("kind", "name", "what it is"):
        chosen.add_column(name)
    for component in components:
        chosen.add_row(component.kind, component.name, Text(component.summary))
    show(plugins, chosen)


@app.command(
    "show", epilog="Example:  metarec plugins show kmeans\n\nExample:  metarec plugins show segments"
)
def show_plugin(
    name: Annotated[str, typer.Argument(help="A plugin, or a component such as kmeans or segments/gmm.")],
    json: Json = False,
) -> None:
    """Show one plugin or component: where it comes from and which parameters it takes."""
    from metarec_sdk.errors import UnknownIdError
    from metarec_sdk.plugins import PluginManager

    manager = PluginManager()
    plugins = [plugin for plugin in manager.records if plugin.name == name]
    components = [component for component in manager.components() if component.name == name]
    if not plugins and not components:
        known = [record.name for record in manager.records] + [record.name for record in manager.components()]
        raise UnknownIdError(f"there is no plugin or component {name!r}; there are {sorted(set(known))}")
    found = [plugin.to_dict() for plugin in plugins]
    for component in components:
        parameters = manager.parameters(component.kind, component.name)
        found.append({**component.to_dict(), "parameters": parameters})
    if json:
        show_json(found)
        return
    for facts in found:
        show(fields(name, facts))
