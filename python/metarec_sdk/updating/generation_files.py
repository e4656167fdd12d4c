"""The files of one generation: laid out as bytes, written aside, and read back with every check."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from metarec_sdk.errors import ArtefactError, DataError, StorageError
from metarec_sdk.types import State
from metarec_sdk.updating.array_file import arrays_from_bytes, arrays_to_bytes
from metarec_sdk.updating.durable import storage_error
from metarec_sdk.updating.frame_file import frame_from_bytes, frame_to_bytes
from metarec_sdk.updating.manifest import (
    MAX_MANIFEST_BYTES,
    FileRecord,
    Manifest,
    check_file_name,
    from_bytes,
)
from metarec_sdk.updating.strict_json import dump_json, load_json

if TYPE_CHECKING:
    import polars as pl

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Contents:
    """What a generation holds."""

    arrays: dict[str, State]
    """Named arrays by component."""
    frames: dict[str, pl.DataFrame]
    documents: dict[str, Any]


def lay_out(
    arrays: Mapping[str, Mapping[str, NDArray[Any]]],
    frames: Mapping[str, pl.DataFrame],
    documents: Mapping[str, Any],
) -> dict[str, bytes]:
    """The files by name.

    Raises:
        DataError: a name isn't plain, two differ in case only, or a content can't be stored.
    """
    files = {f"{name}.safetensors": arrays_to_bytes(name, state) for name, state in arrays.items()}
    files |= {f"{name}.parquet": frame_to_bytes(name, frame) for name, frame in frames.items()}
    files |= {f"{name}.json": dump_json(value, name) for name, value in documents.items()}
    for name in files:
        try:
            check_file_name(name)
        except ValueError as error:
            raise DataError(str(error)) from None
    if len({name.lower() for name in files}) < len(files):
        raise DataError(f"names differ in case only, which some file systems can't hold: {sorted(files)}")
    return files


def record(content: bytes) -> FileRecord:
    """Hash and size of a file."""
    return FileRecord(sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def read_manifest(folder: Path) -> Manifest:
    """The checked manifest of the generation in ``folder``.

    Raises:
        ArtefactError: it is damaged, altered, not this folder's, or from a newer version.
        StorageError: it can't be read.
    """
    manifest = from_bytes(_read_regular(folder / MANIFEST, MAX_MANIFEST_BYTES), str(folder))
    if manifest.id != folder.name:
        raise ArtefactError(f"{folder} holds the manifest of {manifest.id}; it was renamed or altered")
    return manifest


def read_files(folder: Path, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file that the manifest names; others in the folder are never opened.

    Raises:
        ArtefactError: a file is missing, no regular file, or differs in size or hash.
    """
    for name, expected in manifest.files.items():
        content = _read_regular(folder / name, expected.size)
        if len(content) != expected.size:
            raise ArtefactError(f"{folder / name} is truncated: {len(content)} of {expected.size} bytes")
        if hashlib.sha256(content).hexdigest() != expected.sha256:
            raise ArtefactError(f"{folder / name} was altered: its SHA-256 isn't the manifest's")
        yield name, content


def read_contents(folder: Path, manifest: Manifest) -> Contents:
    """Everything in the generation, every file checked before it is parsed.

    Raises:
        ArtefactError: as `read_files`, or a content that isn't what its name says, or isn't finite.
    """
    contents = Contents({}, {}, {})
    for name, content in read_files(folder, manifest):
        path = str(folder / name)
        stem, _, suffix = name.rpartition(".")
        if suffix == "safetensors":
            contents.arrays[stem] = arrays_from_bytes(path, content)
        elif suffix == "parquet":
            contents.frames[stem] = frame_from_bytes(path, content)
        else:
            try:
                contents.documents[stem] = load_json(content)
            except ValueError as error:
                raise ArtefactError(f"{path} is no valid JSON: {error}") from None
    return contents


def check_folder(folder: Path) -> None:
    """Raise `ArtefactError` unless it is a real folder, not a link to one."""
    try:
        mode = folder.lstat().st_mode
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_error(folder, "read", error) from error
    if not stat.S_ISDIR(mode):
        raise ArtefactError(f"{folder} is a link or a file, wanted a folder; links are not followed")


def _read_regular(path: Path, largest: int) -> bytes:
    try:
        # Non-blocking, so that a pipe in the place of a file can't hang the reader.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        if path.is_symlink():
            raise ArtefactError(f"{path} is a link; links are not followed") from None
        raise storage_error(path, "read", error) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ArtefactError(f"{path} is no regular file")
        if found.st_size > largest:
            raise ArtefactError(f"{path} has {found.st_size} bytes, at most {largest} were expected")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(largest + 1)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise storage_error(path, "read", error) from error
    finally:
        os.close(descriptor)
