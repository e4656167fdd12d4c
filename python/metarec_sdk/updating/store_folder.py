"""The folder behind a store: the alias, its lock, and how a generation gets in and out as a whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metarec_sdk.errors import ArtefactError, ConflictError, UnknownIdError
from metarec_sdk.updating.durable import (
    locked,
    replace_file,
    storage_error,
    synchronise_folder,
    try_lock,
    write_file,
)
from metarec_sdk.updating.generation_files import MANIFEST, check_folder, read_manifest
from metarec_sdk.updating.manifest import ID_PATTERN, SCHEMA_VERSION, Manifest, to_bytes
from metarec_sdk.updating.strict_json import dump_json, load_json

ALIAS = "current.json"
LOCK = ".lock"
GENERATIONS = "generations"
_ASIDE = ".aside-"
_MAX_ALIAS_BYTES = 4096


class StoreFolder:
    """``root`` with its generations; nothing is made before `aside`."""

    def __init__(self, root: Path, lock_seconds: float) -> None:
        self.root = root
        self.generations = root / GENERATIONS
        self._lock_seconds = lock_seconds

    def alias(self) -> bytes | None:
        """The alias as it lies on disk; None where nothing was published."""
        path = self.root / ALIAS
        try:
            with path.open("rb") as file:
                return file.read(_MAX_ALIAS_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise storage_error(path, "read", error) from error

    def current(self) -> str | None:
        """The generation that the alias names; `ArtefactError` where it is damaged."""
        raw = self.alias()
        if raw is None:
            return None
        path = self.root / ALIAS
        try:
            fields = load_json(raw)
            newer = fields["schema_version"] > SCHEMA_VERSION
            generation = fields["generation"] if fields["schema_version"] == SCHEMA_VERSION else None
        except (ValueError, KeyError, TypeError):
            newer, generation = False, None
        if newer:
            raise ArtefactError(f"{path} is from a newer version; run: pip install --upgrade metarec-sdk")
        if not isinstance(generation, str) or not ID_PATTERN.match(generation):
            raise ArtefactError(
                f"{path} is truncated or altered; roll back to one of {self.ids()} by naming it"
            )
        return generation

    def check_current(self, expected: str | None) -> None:
        """Raise `ConflictError` unless ``expected`` is current."""
        current = self.current()
        if current != expected:
            raise ConflictError(
                f"the current generation of {self.root} is {current}, expected {expected}: somebody else "
                f"published or rolled back; load it and try again, nothing was changed"
            )

    def point_to(self, generation: str) -> None:
        """Replace the alias; the lock is held."""
        fields = {"generation": generation, "schema_version": SCHEMA_VERSION}
        replace_file(self.root / ALIAS, dump_json(fields, ALIAS))

    def ids(self) -> list[str]:
        """Ids of the generations on disk, oldest first."""
        try:
            names = [entry.name for entry in self.generations.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise storage_error(self.generations, "read", error) from error
        return sorted((name for name in names if ID_PATTERN.match(name)), key=_order)

    def next_number(self) -> int:
        """The number of the next generation; the lock is held."""
        return 1 + max((_order(name)[0] for name in self.ids()), default=0)

    def path(self, generation: str) -> Path:
        """Where a generation lies, or would; `UnknownIdError` for what can't be an id."""
        if not isinstance(generation, str) or not ID_PATTERN.match(generation):
            raise UnknownIdError(f"{generation!r} is no generation id; {self.root} has {self.ids()}")
        return self.generations / generation

    def manifest(self, generation: str) -> Manifest:
        """The checked manifest; `FileNotFoundError` where the generation or its manifest isn't there."""
        path = self.path(generation)
        check_folder(self.generations)
        check_folder(path)
        return read_manifest(path)

    def missing(self, generation: str, error: FileNotFoundError) -> ArtefactError | UnknownIdError:
        """What to raise for a file that wasn't there: a gap in a generation, or no such generation."""
        if self.path(generation).exists():
            return ArtefactError(f"{error.filename} is missing; load another generation")
        return UnknownIdError(f"{self.root} has no generation {generation!r}; it has {self.ids()}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other publishers out."""
        with locked(self.root / LOCK, self._lock_seconds):
            yield

    @contextmanager
    def aside(self) -> Iterator[Path]:
        """A new folder to write in, locked while in use so that nobody sweeps it away."""
        self.root.mkdir(exist_ok=True)
        self.generations.mkdir(exist_ok=True)
        check_folder(self.generations)
        synchronise_folder(self.root)
        with suppress(PermissionError):  # the folder above may be somebody else's
            synchronise_folder(self.root.parent)
        with self.locked():
            self.sweep()
            folder = self._unused()
            folder.mkdir()
            held = try_lock(folder)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            if held is not None:
                os.close(held)

    def install(self, aside: Path, manifest: Manifest) -> Path:
        """Complete what was written aside and give it its name; the lock is held."""
        write_file(aside / MANIFEST, to_bytes(manifest))
        synchronise_folder(aside)
        path = self.path(manifest.id)
        aside.rename(path)
        synchronise_folder(self.generations)
        return path

    def remove(self, generation: str) -> None:
        """Take a generation out of sight at once; `sweep` deletes it. The lock is held."""
        self.path(generation).rename(self._unused())

    def sweep(self) -> None:
        """Delete what was removed, and what a killed publisher left; the lock is held."""
        for folder in list(self.generations.iterdir()):
            if folder.name.startswith(_ASIDE) and (held := try_lock(folder)) is not None:
                try:
                    shutil.rmtree(folder)
                finally:
                    os.close(held)

    def _unused(self) -> Path:
        return self.generations / f"{_ASIDE}{os.urandom(8).hex()}"


def _order(name: str) -> tuple[int, str]:
    number, _, digest = name.partition("-")
    return int(number), digest
