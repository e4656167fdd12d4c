"""One plugin, and nothing else that is installed beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from metarec_sdk.plugins import PluginManager, candidates


def load_alone(plugin: str, plugins: Mapping[str, Any] | Iterable[Any]) -> PluginManager:
    """A manager with the built-ins, ``plugins``, and the installed one called ``plugin`` if none of them is.

    What is given stands in for what is installed: whoever checks a folder has mostly installed it in
    development mode, and then both are the same plugin, not duplicates.

    Raises what `PluginManager` raises.
    """
    plugins = dict(plugins) if isinstance(plugins, Mapping) else list(plugins)
    given = {candidate.name for candidate in candidates.given(plugins)}
    return PluginManager(plugins, enabled=[plugin], entry_points=() if plugin in given else None)
