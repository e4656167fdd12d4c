"""A small model folder to break, and calls of the operating system that fail or kill on demand."""

import os
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import apsw
import numpy as np
import pytest

from metarec_sdk.updating import ComponentRecord, GenerationStore


def _publish(store, number, parent, **changes):
    """A generation without frames, so that a forked child can publish it (polars' threads don't fork)."""
    fields = {
        "arrays": {"head": {"psi": np.full((4, 3), number, np.float32)}, "tasks": {"ids": np.arange(5)}},
        "documents": {"decisions": {"number": number}},
        "components": {"head": ComponentRecord(name="natpar", params={"factors": 3})},
        "seeds": {"fit": 7},
        "trained_through_seq": number,
        "metrics": {"ndcg": 0.25},
        "expected_parent": parent,
    }
    return store.publish(**{**fields, **changes})


@pytest.fixture(scope="session")
def publish():
    """``publish(store, number, parent, **changes)``."""
    return _publish


@pytest.fixture
def folder(tmp_path):
    """An empty folder, in memory where that is possible: thousands of fsyncs take their time on a disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="metarec-tests-") as name:
        yield Path(name)


@pytest.fixture
def store(folder):
    """Two generations; the second is current."""
    made = GenerationStore(folder / "model")
    first = _publish(made, 1, None)
    _publish(made, 2, first.id)
    return made


CALLS = ("open", "write", "fsync", "rename", "replace", "mkdir")


class SystemCalls:
    """Counts the calls that change the disk and lets the n-th (and, if persistent, all later ones) fail."""

    def __init__(self, action, at, persistent=False):
        self.action, self.at, self.persistent, self.count = action, at, persistent, 0

    def wrapped(self, call):
        def counted(*arguments, **options):
            self.count += 1
            if self.count == self.at or (self.persistent and self.count > self.at):
                return self.action(call, *arguments, **options)
            return call(*arguments, **options)

        return counted

    @contextmanager
    def installed(self):
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self.wrapped(getattr(os, name)))
            yield self


def _failing(number):
    def fail(call, *arguments, **options):
        raise OSError(number, os.strerror(number))

    return fail


def _short(call, descriptor, *arguments, **options):
    """A write that stores half and then finds the disk full; any other call fails."""
    if call.__name__ == "write":
        call(descriptor, bytes(arguments[0])[: len(arguments[0]) // 2])
    raise OSError(28, os.strerror(28))


def _kill_before(call, *arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_after(call, *arguments, **options):
    try:
        call(*arguments, **options)
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="session")
def system_calls():
    """``system_calls(action, at, persistent=False)``; actions are in ``system_calls.actions``."""

    def make(action, at, persistent=False):
        return SystemCalls(make.actions[action], at, persistent)

    make.actions = {
        "disk full": _failing(28),
        "input/output error": _failing(5),
        "read-only": _failing(30),
        "short write": _short,
        "kill before": _kill_before,
        "kill after": _kill_after,
    }
    return make


class _WatchedFile(apsw.VFSFile):
    """A file of SQLite that asks before each change."""

    def __init__(self, watcher, name, flags):
        super().__init__("unix", name, flags)
        self.watcher = watcher
        self.name = name.filename() if isinstance(name, apsw.URIFilename) else name

    def xWrite(self, data, offset):
        self.watcher("write", self.name, (data, offset), super().xWrite)

    def xTruncate(self, size):
        self.watcher("truncate", self.name, (size,), super().xTruncate)

    def xSync(self, flags):
        self.watcher("sync", self.name, (flags,), super().xSync)


class _WatchedFileSystem(apsw.VFS):
    """SQLite's file system with a watcher that may refuse, kill or take notes."""

    def __init__(self):
        super().__init__("watched", "unix", makedefault=True)
        self.watcher = None

    def xOpen(self, name, flags):
        if self.watcher is None:
            return apsw.VFSFile("unix", name, flags)
        return _WatchedFile(self.call, name, flags)

    def xDelete(self, name, synchronise):
        self.call("delete", name, (name, synchronise), super().xDelete)

    def call(self, operation, name, arguments, call):
        if self.watcher is None:
            call(*arguments)
        else:
            self.watcher(operation, name, arguments, call)


@pytest.fixture
def sqlite_files():
    """Set ``.watcher`` to ``watcher(operation, name, arguments, call)`` to stand between SQLite and the disk.

    Connections opened while it is set are watched.
    """
    files = _WatchedFileSystem()
    yield files
    files.watcher = None
    files.unregister()
