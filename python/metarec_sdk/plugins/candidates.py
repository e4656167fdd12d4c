"""Where plugins come from: the metadata of installed distributions, and objects or files given by the caller.

Finding a candidate imports nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any
from zlib import crc32

from metarec_sdk.errors import ArgumentError
from metarec_sdk.plugins.fingerprint import fingerprint

GROUP = "metarec_sdk.v1"
"""Entry-point group; it names the major version, so that it is known before any import."""
GROUP_PREFIX = "metarec_sdk.v"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin that could be loaded."""

    name: str
    distribution: str | None
    version: str | None
    load: Callable[[], Any]
    """Imports the plugin and returns its module or object."""
    group: str | None = None
    """Entry-point group, or None for a plugin given by the caller."""
    location: str | Path | None = None
    """Module or file of its code; None for an object."""

    @property
    def given(self) -> bool:
        """Whether the caller handed it over, so that the lists for installed plugins don't apply."""
        return self.group is None

    def sha256(self) -> str | None:
        """Hash of its code, see `metarec_sdk.plugins.fingerprint`; None for an object."""
        return None if self.location is None else fingerprint(self.location)

    @property
    def provider(self) -> str:
        """Distribution and version, for messages."""
        if self.distribution is None:
            return f"plugin object {self.name!r}"
        return f"{self.distribution} {self.version or '(unknown version)'}"


def installed(found: Iterable[EntryPoint] | None = None) -> list[Candidate]:
    """Candidates of every major version in the installed distributions, by name and distribution."""
    if found is None:
        everything = entry_points()
        groups = [group for group in everything.groups if group.startswith(GROUP_PREFIX)]
        found = [point for group in groups for point in everything.select(group=group)]
    candidates = [
        Candidate(
            point.name,
            point.dist.name if point.dist else None,
            point.dist.version if point.dist else None,
            point.load,
            point.group,
            point.module,
        )
        for point in found
        if point.group.startswith(GROUP_PREFIX)
    ]
    return sorted(candidates, key=lambda candidate: (candidate.name, candidate.distribution or ""))


def given(plugins: Iterable[Any] | Mapping[str, Any]) -> list[Candidate]:
    """Candidates for modules, objects, module names and ``.py`` paths; a mapping gives them names.

    Without a mapping the name is the last part of the module's name, the file's stem or the object's class
    name, in lower case and with ``-`` for ``_``.

    Raises `ArgumentError` for a single string or for a class where an instance is needed.
    """
    if isinstance(plugins, str | Path | ModuleType):
        raise ArgumentError("plugins= takes a list of modules, objects or paths; put this one in a list")
    named = plugins.items() if isinstance(plugins, Mapping) else ((None, plugin) for plugin in plugins)
    return [_given_one(name, plugin) for name, plugin in named]


def _given_one(name: str | None, plugin: Any) -> Candidate:
    if isinstance(plugin, type):
        raise ArgumentError(
            f"plugins= got the class {plugin.__name__}; give an instance: {plugin.__name__}()"
        )
    if isinstance(plugin, Path) or (isinstance(plugin, str) and plugin.endswith(".py")):
        path = Path(plugin)
        return Candidate(name or _plain(path.stem), None, None, lambda: _import_file(path), location=path)
    if isinstance(plugin, str):
        return Candidate(
            name or _plain(plugin.rpartition(".")[2]),
            None,
            None,
            lambda: importlib.import_module(plugin),
            location=plugin,
        )
    version = getattr(plugin, "__version__", None)
    label = plugin.__name__.rpartition(".")[2] if isinstance(plugin, ModuleType) else type(plugin).__name__
    return Candidate(name or _plain(label), None, version, lambda: plugin)


def _plain(label: str) -> str:
    return label.lower().strip("_").replace("_", "-")


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ArgumentError(f"plugins= names {str(path)!r}, which is not a file")
    # Two files of one name are two modules, also where two recommenders of one process load one each.
    name = f"metarec_plugin_{path.stem}_{crc32(str(path.resolve()).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ArgumentError(f"plugins= names {str(path)!r}, which is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and string targets look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
