"""What ``metarec plugins check`` is pointed at: an installed plugin, a distribution's folder or one file."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarec_sdk.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Target:
    """A plugin, and where it comes from."""

    plugin: str
    component: str | None
    """``plugin/name``, or None for everything that the plugin registers."""
    plugins: dict[str, Any]
    """As for `metarec_sdk.Recommender`; empty for one that is installed."""


def targets(text: str) -> list[Target]:
    """The plugins behind a name or path; a folder's modules become importable in this process.

    A path is a ``.py`` file, or a folder with a ``pyproject.toml`` or an ``__init__.py``; anything else is
    the name of a plugin or of a component.

    Raises `ArgumentError` for a file or folder that holds no plugin.
    """
    path = Path(text)
    if path.suffix == ".py":
        if not path.is_file():
            raise ArgumentError(f"there is no file {text!r}")
        return [Target(_name(path.stem), None, {_name(path.stem): str(path.resolve())})]
    if (path / "pyproject.toml").is_file():
        return _of_distribution(path.resolve())
    if (path / "__init__.py").is_file():
        folder = path.resolve()
        sys.path.insert(0, str(folder.parent))
        return [Target(_name(folder.name), None, {_name(folder.name): folder.name})]
    if text in (".", "..") or text.endswith("/"):
        raise ArgumentError(f"{text!r} has neither a pyproject.toml nor an __init__.py, so it is no plugin")
    plugin, slash, _ = text.partition("/")
    return [Target(plugin, text if slash else None, {})]


def _of_distribution(folder: Path) -> list[Target]:
    from metarec_sdk.plugins.candidates import GROUP

    file = folder / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError(f"{file} can't be read: {error}") from error
    points = project.get("entry-points", {}).get(GROUP, {})
    if not points:
        raise ArgumentError(
            f'{file} names no plugin; add a table [project.entry-points."{GROUP}"] with a line '
            'acme = "metarec_acme"'
        )
    return [Target(name, None, {name: _importable(folder, module, file)}) for name, module in points.items()]


def _importable(folder: Path, module: str, file: Path) -> str:
    """The module's name, with its root put on ``sys.path``."""
    place = Path(*module.split("."))
    for root in (folder / "src", folder):
        if (root / place / "__init__.py").is_file() or (root / place).with_suffix(".py").is_file():
            sys.path.insert(0, str(root))
            return module
    raise ArgumentError(f"{file} names the module {module!r}, but neither {folder} nor its src/ has it")


def _name(stem: str) -> str:
    return stem.lower().replace("_", "-")
