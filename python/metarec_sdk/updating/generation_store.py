"""A store of immutable generations and the alias that says which one is current."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from pydantic import ValidationError

from metarec_sdk.errors import ArgumentError, ArtefactError, ConflictError, DataError, UnknownIdError
from metarec_sdk.types import State
from metarec_sdk.updating.durable import storage_errors, write_file
from metarec_sdk.updating.generation_copy import copy_generations
from metarec_sdk.updating.generation_files import lay_out, read_contents, record
from metarec_sdk.updating.manifest import ComponentRecord, Manifest, next_id, to_bytes
from metarec_sdk.updating.store_folder import StoreFolder

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Generation:
    """A published generation, its content not read."""

    id: str
    path: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class LoadedGeneration:
    """A generation in memory, every check passed."""

    id: str
    manifest: Manifest
    arrays: dict[str, State]
    """By component, then by name."""
    frames: dict[str, pl.DataFrame]
    documents: dict[str, Any]


class GenerationStore:
    """Publishes, loads and rolls back generations under ``root``.

    ::

        root/current.json                          the alias: which generation is current
        root/generations/000001-3fa9c1d20b7e/      manifest.json, *.safetensors, *.parquet, *.json

    A generation is written aside, synchronised to disk and renamed; then the alias is replaced under a lock,
    if it still points where the publisher thinks (compare-and-set). A crash or an error at any point leaves
    the old generation or the new one current, whole. The hashes prove a generation undamaged, not who made
    it.

    Loading needs no write permission; nothing is made on disk before the first `publish`.

    Args:
        root: the folder; its parent must exist. On a local POSIX file system.
        lock_seconds: how long to wait for another publisher.
    """

    def __init__(self, root: str | Path, *, lock_seconds: float = 30.0) -> None:
        self.root = Path(root).absolute()
        self._folder = StoreFolder(self.root, lock_seconds)

    @property
    def current(self) -> str | None:
        """Id of the current generation; None where nothing was published.

        Raises:
            ArtefactError: the alias is damaged.
            StorageError: it can't be read.
        """
        return self._folder.current()

    def ids(self) -> list[str]:
        """Ids of all generations on disk, oldest first; damaged ones too."""
        return self._folder.ids()

    def load(self, generation: str | None = None) -> LoadedGeneration:
        """Read a generation (None: the current one) after checking hashes, sizes, shapes and finiteness.

        Raises:
            UnknownIdError: there is no such generation, or none at all.
            ArtefactError: it is damaged, was altered, or is from a newer version. Nothing was loaded.
            StorageError: it can't be read.
        """
        chosen = self._current_or_error() if generation is None else generation
        try:
            manifest = self._folder.manifest(chosen)
            contents = read_contents(self._folder.path(chosen), manifest)
        except FileNotFoundError as error:
            if generation is None and self.current != chosen:
                return self.load()  # it was replaced and pruned while we read
            raise self._folder.missing(chosen, error) from None
        return LoadedGeneration(chosen, manifest, contents.arrays, contents.frames, contents.documents)

    def manifest(self, generation: str | None = None) -> Manifest:
        """The checked manifest of a generation (None: the current one), files unread; raises as `load`."""
        chosen = self._current_or_error() if generation is None else generation
        try:
            return self._folder.manifest(chosen)
        except FileNotFoundError as error:
            raise self._folder.missing(chosen, error) from None

    def publish(
        self,
        *,
        arrays: Mapping[str, Mapping[str, NDArray[Any]]],
        frames: Mapping[str, pl.DataFrame] | None = None,
        documents: Mapping[str, Any] | None = None,
        components: Mapping[str, ComponentRecord],
        seeds: Mapping[str, int],
        trained_through_seq: int,
        training: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        expected_parent: str | None,
    ) -> Generation:
        """Write a new generation and make it current, durably, all or nothing.

        Args:
            arrays: by component, then by name; each component becomes ``<component>.safetensors``.
            frames: each becomes ``<name>.parquet``.
            documents: JSON-able values; each becomes ``<name>.json``.
            components: by kind, what the generation is made of.
            seeds: by name.
            trained_through_seq: the last event of the log that it learned from, ≥ 0.
            training: JSON-able description of the training data, as its range.
            metrics: finite numbers by name.
            expected_parent: the generation that must still be current; None: nothing was published yet.

        Raises:
            DataError: a value can't be stored (NaN, an object array, a name with a path …).
            ConflictError: another generation is current; nothing was changed.
            StorageError: disk full, read-only or faulty; `current` tells which generation is, whole.
        """
        self._folder.check_current(expected_parent)
        files = lay_out(arrays, frames or {}, documents or {})
        records = {name: record(content) for name, content in sorted(files.items())}
        created = datetime.datetime.now(datetime.UTC).isoformat()

        def manifest(number: int) -> Manifest:
            try:
                return Manifest(
                    id=next_id(number, records),
                    parent=expected_parent,
                    created=created,
                    metarec_version=_package_version(),
                    components=dict(components),
                    seeds=dict(seeds),
                    trained_through_seq=trained_through_seq,
                    training=dict(training or {}),
                    metrics=dict(metrics or {}),
                    files=records,
                )
            except ValidationError as error:
                first = error.errors()[0]
                raise DataError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None

        to_bytes(manifest(1))  # a value that can't be stored fails before anything is written
        with storage_errors(self.root, "written"), self._folder.aside() as aside:
            for name, content in files.items():
                write_file(aside / name, content)
            with self._folder.locked():
                self._folder.check_current(expected_parent)
                made = manifest(self._folder.next_number())
                path = self._folder.install(aside, made)
                try:
                    self._folder.point_to(made.id)
                except BaseException:
                    # Not where the alias was moved and only its synchronisation failed.
                    if self.current != made.id:
                        shutil.rmtree(path, ignore_errors=True)
                    raise
        return Generation(made.id, path, made)

    def rollback(self, to: str | None = None, *, expected: str | None = None) -> str:
        """Make the parent of the current generation (or ``to``) current and return its id.

        The target is fully checked first. Nothing is deleted; rolling "back" to a newer one is allowed.

        Args:
            to: the generation to go to; None: the parent. Naming one also repairs a damaged alias.
            expected: the generation that must still be current; None: whichever is now.

        Raises:
            ArgumentError: there is no parent to go to.
            UnknownIdError: there is no such generation.
            ArtefactError: the target is damaged; the alias stays.
            ConflictError: another generation is current, or became so meanwhile; nothing was changed.
            StorageError: the alias can't be written.
        """
        before = self._folder.alias()
        if expected is not None:
            self._folder.check_current(expected)
        if to is None:
            current = self._current_or_error()
            to = self.manifest(current).parent
            if to is None:
                raise ArgumentError(f"{current} is the first generation; there is nothing before it")
        self.load(to)
        with storage_errors(self.root, "written"), self._folder.locked():
            if self._folder.alias() != before:
                raise ConflictError(
                    f"somebody else published to {self.root} or rolled it back meanwhile; nothing was changed"
                )
            self.manifest(to)  # it may have been pruned meanwhile
            self._folder.point_to(to)
        return to

    def prune(self, keep: int) -> list[str]:
        """Delete all but the ``keep`` newest generations, the current one and its parent; return their ids.

        Raises:
            ArgumentError: ``keep`` is below 1.
            StorageError: a folder can't be deleted.
        """
        if keep < 1:
            raise ArgumentError(f"keep must be at least 1, got {keep}")
        if not self.ids():
            return []
        with storage_errors(self.root, "pruned"), self._folder.locked():
            current = self.current
            kept = {current, *self.ids()[-keep:]}
            if current is not None:
                with suppress(ArtefactError, FileNotFoundError):
                    kept.add(self._folder.manifest(current).parent)
            removed = [name for name in self.ids() if name not in kept]
            for name in removed:
                self._folder.remove(name)
            self._folder.sweep()
        return removed

    def export(self, path: str | Path, *, generations: int = 1) -> GenerationStore:
        """Copy the current generation, with up to ``generations - 1`` ancestors, to the store at ``path``.

        The copy becomes current there; what that store had before stays in it.

        Raises:
            ArgumentError: ``generations`` is below 1.
            UnknownIdError: nothing was published.
            ArtefactError: a generation is damaged; nothing became current.
            StorageError: the copy can't be written.
        """
        if generations < 1:
            raise ArgumentError(f"generations must be at least 1, got {generations}")
        self._current_or_error()
        target = GenerationStore(path)
        copy_generations(self._folder, target._folder, generations)
        return target

    def list(self) -> list[Generation]:
        """All generations whose manifest is whole, oldest first; their files are not checked."""
        found = []
        for name in self.ids():
            with suppress(ArtefactError, FileNotFoundError):
                found.append(Generation(name, self._folder.path(name), self._folder.manifest(name)))
        return found

    def _current_or_error(self) -> str:
        current = self.current
        if current is None:
            raise UnknownIdError(f"{self.root} holds no published generation; fit and publish or save first")
        return current


def _package_version() -> str:
    try:
        return version("metarec-sdk")
    except PackageNotFoundError:
        return "unknown"
