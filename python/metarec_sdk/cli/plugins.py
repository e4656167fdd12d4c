"""``metarec plugins list | show | check | new``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from metarec_sdk.cli.output import Json, fields, show, show_json
from metarec_sdk.cli.plugin_check import check
from metarec_sdk.cli.plugin_new import new
from metarec_sdk.cli.plugin_option import Plugins

if TYPE_CHECKING:
    from metarec_sdk.plugins import PluginManager, PluginRecord

app = typer.Typer(no_args_is_help=True, help="See what can be selected by name; check a plugin, start one.")
app.command(
    epilog="Example:  metarec plugins check segments --param segments/svm.min_size=8\n\n"
    "Example:  metarec plugins check ./metarec-acme"
)(check)
app.command(epilog="Example:  metarec plugins new metarec-acme --kind reranker --component prefer")(new)


@app.command("list", epilog="Example:  metarec plugins list --kind clusterer")
def list_plugins(
    kind: Annotated[
        str | None, typer.Option(help="Only this kind, such as backbone, clusterer or reranker.")
    ] = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """List plugins with their status, and the components to choose from."""
    from metarec_sdk.plugins import PluginManager

    manager = PluginManager(plugin or ())
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
    for record in manager.records:
        style = {"loaded": "green", "disabled": "dim"}.get(record.status, "red")
        plugins.add_row(
            record.name,
            record.distribution or "–",
            record.version or "–",
            Text(record.status, style),
            f"{record.import_seconds * 1e3:.1f} ms",
            Text(record.error or ""),
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
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Show one plugin or component: where it comes from, what it offers, which parameters it takes."""
    from metarec_sdk.errors import UnknownIdError
    from metarec_sdk.plugins import PluginManager

    manager = PluginManager(plugin or ())
    plugins = [record for record in manager.records if record.name == name]
    components = [component for component in manager.components() if component.name == name]
    if not plugins and not components:
        known = [record.name for record in manager.records] + [record.name for record in manager.components()]
        raise UnknownIdError(f"there is no plugin or component {name!r}; there are {sorted(set(known))}")
    found = [_record(manager, record) for record in plugins]
    for component in components:
        parameters = manager.parameters(component.kind, component.name)
        found.append({**component.to_dict(), "parameters": parameters})
    if json:
        show_json(found)
        return
    for facts in found:
        show(fields(name, facts))


def _record(manager: PluginManager, record: PluginRecord) -> dict[str, Any]:
    """A plugin's record, with the hooks that it implements and the hash that the lists take."""
    from metarec_sdk.plugins import KINDS

    kinds = dict.fromkeys(text.partition(" ")[0] for text in record.components)
    hooks = [*(KINDS[kind].hook for kind in kinds), *record.observes]
    return {**record.to_dict(), "hooks": hooks, "sha256": manager.sha256(record.name)}
