"""Finds a component by name, or says exactly why it isn't there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from metarec_sdk.errors import PluginError, UnknownIdError
from metarec_sdk.plugins.kinds import KINDS, Kind
from metarec_sdk.plugins.records import ComponentRecord, PluginRecord, Status


def find(
    components: Mapping[tuple[str, str], ComponentRecord],
    plugins: Iterable[PluginRecord],
    kind: Kind,
    name: str,
    distribution: str | None = None,
) -> ComponentRecord:
    """The component of that kind and name.

    Raises `UnknownIdError` with the closest names, or `PluginError` if the plugin that should have it is
    missing or not loaded.
    """
    found = components.get((kind.name, name))
    if found is not None:
        return found
    plugin = name.partition("/")[0] if "/" in name else None
    records = [record for record in plugins if record.name == plugin]
    if plugin is not None and not any(record.status is Status.LOADED for record in records):
        raise PluginError(_not_loaded(f"{kind.label} {name!r}", plugin, records, distribution))
    raise UnknownIdError(_unknown(components, kind, name))


def _not_loaded(what: str, plugin: str, records: list[PluginRecord], distribution: str | None) -> str:
    if not records:
        comes = f"{what} comes from the plugin {plugin!r}, which isn't installed"
        if distribution is not None:
            return f"{comes}; run: pip install {distribution}"
        guess = f"metarec-{plugin}"
        return f"{comes}; its distribution is probably {guess}: pip install {guess}"
    states = "; ".join(f"{record.provider} is {record.status}: {record.error}" for record in records)
    return f"{what} can't be used, because its plugin {plugin!r} isn't loaded. {states}"


def _unknown(components: Mapping[tuple[str, str], ComponentRecord], kind: Kind, name: str) -> str:
    names = [other for of_kind, other in components if of_kind == kind.name]
    others = [KINDS[of_kind].label for of_kind, other in components if other == name]
    if others:
        return f"{name!r} is a {others[0]}, not a {kind.label}; the {kind.label}s are {names}"
    # a forgotten namespace is the commonest slip: "stripes" for "acme/stripes"
    close = [other for other in names if other.partition("/")[2] == name] or get_close_matches(
        name, names, n=3
    )
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"there is no {kind.label} {name!r}; there are {names}.{hint}"
