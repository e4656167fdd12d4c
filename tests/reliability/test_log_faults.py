"""The event log with a fault, or a SIGKILL, at each write, sync, truncation and deletion of SQLite."""

import os
import shutil
import signal
from pathlib import Path

import apsw
import pytest

from metarec_sdk.errors import StorageError
from metarec_sdk.feedback import Event, SQLiteEventLog

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
    # apsw also reports what the watcher raised by itself.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ERASED = "Zaphod-Beeblebrox-42"
EARLIER = [
    Event(ERASED if number % 3 else f"u{number % 9}", "i", event_id=f"old{number}", timestamp=1)
    for number in range(60)
]
LATER = [Event("new", f"i{number}", event_id=f"new{number}", timestamp=2) for number in range(3)]

ERRORS = {"disk full": apsw.FullError, "input/output error": apsw.IOError, "read-only": apsw.ReadOnlyError}


class Fault:
    """Lets the n-th change, and later ones if persistent, fail or kill."""

    def __init__(self, kind, at, persistent=False):
        self.kind, self.at, self.persistent, self.count = kind, at, persistent, 0

    def __call__(self, operation, name, arguments, call):
        self.count += 1
        if self.count != self.at and not (self.persistent and self.count > self.at):
            return call(*arguments)
        if self.kind == "kill before":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "kill after":
            call(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind in ("short write", "torn write") and operation == "write":
            data, offset = arguments
            call(data[: len(data) // 2], offset)
            if self.kind == "torn write":
                os.kill(os.getpid(), signal.SIGKILL)
        raise ERRORS.get(self.kind, apsw.FullError)("injected")


OPERATIONS = {
    "append": lambda log: log.append(LATER),
    "erase": lambda log: log.erase_user(ERASED),
    "append and close": lambda log: (log.append(LATER), log.close()),
    "copy": lambda log: log.copy_to(log.path.with_name("copy")),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A log with `EARLIER` in it, closed."""
    path = tmp_path_factory.mktemp("template") / "events.sqlite"
    with SQLiteEventLog(path) as log:
        for start in range(0, len(EARLIER), 20):
            log.append(EARLIER[start : start + 20])
    return path


def make(template, folder, name):
    """A log of its own in a folder of its own."""
    (folder / name).mkdir()
    return Path(shutil.copy(template, folder / name))


def check(path, operation, finished):
    """Nothing acknowledged is lost or doubled, and each operation happened or didn't."""
    with SQLiteEventLog(path) as log:
        log.verify()
        found = log.read()["event_id"].to_list()
        assert len(found) == len(set(found))
        old = {event.event_id for event in EARLIER}
        erased = {event.event_id for event in EARLIER if event.user_id == ERASED}
        new = {event.event_id for event in LATER}
        if operation == "erase":
            assert set(found) == old - erased if finished else set(found) in (old, old - erased)
        elif operation == "copy":
            assert set(found) == old
        else:
            assert set(found) == old | new if finished else set(found) in (old, old | new)
    if operation == "erase" and not erased & set(found):
        # Where the erasure was interrupted, opening has finished it.
        assert all(ERASED.encode() not in file.read_bytes() for file in path.parent.iterdir())
    copy = path.with_name("copy")
    if operation == "copy" and (finished or copy.exists()):
        with SQLiteEventLog(copy) as log:
            assert log.read()["event_id"].to_list() == found


@pytest.mark.parametrize("persistent", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("kind", [*ERRORS, "short write"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_fault_at_each_change_loses_nothing(operation, kind, persistent, template, folder, sqlite_files):
    for at in range(1, 300):
        path = make(template, folder, str(at))
        sqlite_files.watcher = fault = Fault(kind, at, persistent)
        finished = True
        log = None
        try:
            log = SQLiteEventLog(path)
            OPERATIONS[operation](log)
        except StorageError as error:
            finished, message = False, str(error)
        triggered = fault.count >= at
        fault.at, fault.persistent = 10**9, False  # the disk is well again
        assert finished or str(path.parent) in message
        if log is not None and not log._closed:
            # The same object works again, and a retry is acknowledged once.
            again = OPERATIONS[operation](log)
            if operation == "append":
                assert log.append(LATER) == again
            log.close()
            finished = True
        sqlite_files.watcher = None
        check(path, operation, finished)
        if not triggered:
            assert at > 3
            return
    pytest.fail("the operation never ran through")


@pytest.mark.parametrize("kind", ["kill before", "kill after", "torn write"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_kill_at_each_change_loses_nothing(operation, kind, template, folder, sqlite_files):
    for at in range(1, 300):
        path = make(template, folder, str(at))
        child = os.fork()
        if child == 0:
            try:
                sqlite_files.watcher = Fault(kind, at)
                OPERATIONS[operation](SQLiteEventLog(path))
                os._exit(0)
            except StorageError:
                os._exit(2)  # a torn write of something that isn't written
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 2, -signal.SIGKILL)
        check(path, operation, finished=code == 0)
        if code == 0:
            assert at > 3
            return
    pytest.fail("the operation never ran through")


def test_a_failed_sync_is_not_taken_for_success_after_a_crash(template, folder, sqlite_files):
    """A commit whose fsync failed may be readable and yet never reach the disk. After the crash that
    followed, it must be written anew before its redelivery is acknowledged."""
    path = make(template, folder, "log")

    synchronised = []

    def killed_by_sync(operation, name, arguments, call):
        if operation == "sync" and name.endswith("-wal"):
            synchronised.append(name)
        if len(synchronised) == 2:  # the first is that of the file's header
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments)

    child = os.fork()
    if child == 0:
        sqlite_files.watcher = killed_by_sync
        SQLiteEventLog(path).append(LATER)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    changes = []

    def watcher(operation, name, arguments, call):
        changes.append((operation, name))
        return call(*arguments)

    sqlite_files.watcher = watcher
    with SQLiteEventLog(path) as log:
        assert log.last_seq == len(EARLIER) + len(LATER)  # readable
        assert len(log.append(LATER)) == len(LATER)
        assert ("write", str(path)) in changes
        assert ("sync", str(path)) in changes
