"""Writing so that a crash at any point leaves the old or the new, whole."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metarec_sdk.errors import StorageError


@contextmanager
def storage_errors(path: Path, action: str) -> Iterator[None]:
    """Turn the operating system's errors into `StorageError` that names the path."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        remedy = "check free space and permissions, nothing earlier was lost"
        raise storage_error(path, action, error, remedy) from error


def storage_error(path: Path, action: str, error: OSError, remedy: str = "") -> StorageError:
    """A `StorageError` for an error of the operating system, with its ``errno``."""
    tail = f"; {remedy}" if remedy else ""
    made = StorageError(f"{path} can't be {action}: {error.strerror or error}{tail}")
    made.errno = error.errno
    return made


def write_file(path: Path, content: bytes) -> None:
    """Make a new file with this content, on the disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def synchronise_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file's content in one step."""
    aside = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        write_file(aside, content)
        aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
    synchronise_folder(path.parent)


def try_lock(path: Path) -> int | None:
    """A descriptor that holds an exclusive lock on the file or folder, or None where somebody else has it.

    The operating system drops the lock when the process ends, however it ends.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def locked(path: Path, wait_seconds: float) -> Iterator[None]:
    """Hold an exclusive lock, between threads and processes, on the file; it is made where it isn't there."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    deadline = time.monotonic() + wait_seconds
    while (descriptor := try_lock(path)) is None:
        if time.monotonic() >= deadline:
            raise StorageError(f"{path} was held by somebody else for {wait_seconds} s; try again later")
        time.sleep(0.005)
    try:
        yield
    finally:
        os.close(descriptor)
