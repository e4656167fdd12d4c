"""The SHA-256 of a plugin's code, so that a list can allow exactly what somebody has read."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

SKIPPED = "__pycache__"


def fingerprint(location: str | Path) -> str | None:
    """SHA-256 in hexadecimal over the files of a module's top package, or of one file; imports nothing.

    Names relative to the package and contents count, in the order of the names; byte code doesn't. None
    where the module can't be found.
    """
    if isinstance(location, Path):
        roots = [location]
    else:
        try:
            spec = importlib.util.find_spec(location.partition(".")[0])
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        roots = [Path(folder) for folder in spec.submodule_search_locations or ()]
        roots = roots or ([Path(spec.origin)] if spec.origin else [])
    digest = hashlib.sha256()
    found = False
    for root in roots:
        for name, path in _files(root):
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
            found = True
    return digest.hexdigest() if found else None


def _files(root: Path) -> list[tuple[str, Path]]:
    if root.is_file():
        return [(root.name, root)]
    inside = [path for path in root.rglob("*") if path.is_file() and SKIPPED not in path.parts]
    return sorted((path.relative_to(root).as_posix(), path) for path in inside)
