"""The embedded event log: one SQLite file, write-ahead logged, durable before it acknowledges."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import apsw

from metarec_sdk.errors import ArgumentError, DataError, StorageError
from metarec_sdk.feedback.event import INTEGER_RANGE, Event, check_events, check_id
from metarec_sdk.feedback.event_frame import LOGGED_COLUMNS, frame_from_rows
from metarec_sdk.feedback.sqlite_batch import Batch, id_kinds, kind_of, store_batches
from metarec_sdk.feedback.sqlite_connection import check_sqlite_version, open_connection, storage_errors
from metarec_sdk.feedback.sqlite_copy import copy_log
from metarec_sdk.feedback.sqlite_erasure import delete_user, scrub, scrub_pending

if TYPE_CHECKING:
    import polars as pl

MAX_LIMIT = 10_000_000
"""Events in one limited read."""

IdKind = Literal["integer", "string"]


def microseconds_now() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class SQLiteEventLog:
    """An `EventLog` in one SQLite file (plus its ``-wal`` and ``-shm`` neighbours) on a local disk.

    ``append`` returns after the commit reached the disk. Appends of several threads that wait for each other
    are committed together (group commit), so that they share one fsync. Several processes may have the
    same log open; a process may fork.

    Args:
        path: the file; made where it isn't there, its folder must exist.
        user_ids, item_ids: "integer" or "string" to fix the dtype of an id now; None: the first event does.
            One log has one dtype for users and one for items.
        busy_seconds: how long to wait for another process's write.
        clock: microseconds since 1970 UTC, for events without a timestamp.

    Raises:
        StorageError: the file can't be opened or written, or apsw carries an unsafe SQLite.
        ArtefactError: the file isn't an event log, is damaged, or is from a newer version.
        DataError: the log has another dtype than the one asked for.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        user_ids: IdKind | None = None,
        item_ids: IdKind | None = None,
        busy_seconds: float = 10.0,
        clock: Callable[[], int] = microseconds_now,
    ) -> None:
        check_sqlite_version()
        if not 0 <= busy_seconds <= 3600:
            raise ArgumentError(f"busy_seconds must be 0 to 3600, got {busy_seconds}")
        for name, kind in (("user_ids", user_ids), ("item_ids", item_ids)):
            if kind not in (None, "integer", "string"):
                raise ArgumentError(f"{name} must be 'integer', 'string' or None, got {kind!r}")
        self.path = Path(path).absolute()
        self._busy_seconds = busy_seconds
        self._clock = clock
        self._wanted_kinds = (user_ids, item_ids)
        self._closed = False
        self._failed = False
        self._writer: apsw.Connection | None = None
        self._reader: apsw.Connection | None = None
        self._queue: deque[Batch] = deque()
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        with self._write_lock:
            connection = self._write_connection()
            with storage_errors(self.path, "opened"):
                store_batches(connection, [], clock, self._wanted_kinds)
                if scrub_pending(connection):
                    # An erasure was interrupted. Where it can't be finished now, the mark stays.
                    with suppress(apsw.FullError, apsw.BusyError):
                        scrub(connection)
        _OPEN_LOGS.add(self)

    @property
    def last_seq(self) -> int:
        """The highest sequence number given so far; 0 for a new log."""
        with self._read_lock, storage_errors(self.path, "read"):
            query = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
            found: int | None = self._read_connection().execute(query).get
            return found or 0

    def append(self, events: Sequence[Event]) -> list[int]:
        """Store all of the events or none, durably, and return their sequence numbers in order.

        An event whose ``event_id`` is in the log (or earlier in the batch) with the same content is
        acknowledged with its old number; an erased event is no longer known.

        Raises:
            DataError: an event is invalid, is of the wrong id dtype, or its id is in the log with other
                content; the message names its place in the batch.
            ArgumentError: more than 1,000,000 events.
            StorageError: disk full, read-only or faulty. Nothing of the batch was acknowledged and everything
                that was earlier is kept; appending the same `Event` objects again is safe.
        """
        batch = Batch(check_events(events))
        if not batch.rows:
            return []
        self._queue.append(batch)
        with self._write_lock:
            # Whoever gets the lock commits for everybody who queued meanwhile.
            if not batch.done:
                self._commit_queue()
        return batch.result()

    def _commit_queue(self) -> None:
        batches: list[Batch] = []
        try:
            while self._queue:
                batches.append(self._queue.popleft())
            with storage_errors(self.path, "written", "none of the events was acknowledged"):
                store_batches(self._write_connection(), batches, self._clock, self._wanted_kinds)
        except BaseException as error:
            self._failed = True
            self._close_writer()
            for batch in batches:
                batch.fail(error)
            if not isinstance(error, Exception):
                raise
        else:
            for batch in batches:
                batch.done = True

    def read(
        self,
        after_seq: int = 0,
        upto: int | None = None,
        limit: int | None = None,
        *,
        user: int | str | None = None,
    ) -> pl.DataFrame:
        """Events with ``after_seq < seq ≤ upto`` in order of seq, at most ``limit`` of them.

        Args:
            after_seq: the last sequence number already known, ≥ 0.
            upto: the last one wanted; None: to the end.
            limit: 1 to 10,000,000 events; None: all (to go on, pass the last ``seq`` as ``after_seq``).
            user: only this user's events.

        Returns:
            ``user_id``, ``item_id`` (Int64 or String), ``timestamp`` (Int64, µs), ``event_type`` (String),
            ``value`` (Float64), ``row`` (Int64, = seq), ``event_id``, ``seq`` (Int64), ``request_id``,
            ``position`` (Int64), ``propensity`` (Float64), ``generation``, ``shown`` (String, JSON).

        Raises:
            ArgumentError: a bound is out of range.
            StorageError: the log can't be read.
        """
        highest = INTEGER_RANGE[1]
        upto = highest if upto is None else upto
        for name, value in (("after_seq", after_seq), ("upto", upto)):
            if not 0 <= value <= highest:
                raise ArgumentError(f"{name} must be 0 to {highest}, got {value}")
        if limit is not None and not 1 <= limit <= MAX_LIMIT:
            raise ArgumentError(f"limit must be 1 to {MAX_LIMIT:,} or None, got {limit}")
        columns = ", ".join(["user_id", "item_id", *LOGGED_COLUMNS]).replace("row", "seq AS row")
        query = f"SELECT {columns} FROM events WHERE seq > ? AND seq <= ?"
        arguments: list[int | str] = [after_seq, upto]
        if user is not None:
            query += " AND user_id = ?"
            arguments.append(check_id("user", user))
        arguments.append(-1 if limit is None else limit)
        with self._read_lock, storage_errors(self.path, "read"):
            connection = self._read_connection()
            with connection:  # the dtypes and the rows of one snapshot
                users, items = id_kinds(connection)
                rows = connection.execute(f"{query} ORDER BY seq LIMIT ?", arguments).fetchall()
        return frame_from_rows(rows, users or "string", items or "string")

    def erase_user(self, user: int | str) -> int:
        """Remove every trace of the user's events from the files and return how many there were.

        The events are deleted in one transaction; then the file is rewritten and the write-ahead log emptied,
        so that their bytes are gone from both. A crash between the two is made good at the next open. The
        time grows with the whole log. Copies of the file and trained generations are not touched.

        Raises:
            DataError: ``user`` isn't an id of this log's dtype.
            StorageError: the log couldn't be written or rewritten; call again, it goes on where it stopped.
        """
        user = check_id("user", user)
        with self._write_lock, self._read_lock:
            if self._reader is not None:
                self._reader.close(True)
                self._reader = None
            try:
                with storage_errors(self.path, "erased from", "call erase_user again"):
                    connection = self._write_connection()
                    known, _ = id_kinds(connection)
                    if known is not None and kind_of(user) != known:
                        raise DataError(f"user is {user!r}, but this log has {known} user ids")
                    count = delete_user(connection, user)
                    if count or scrub_pending(connection):
                        scrub(connection)
            except StorageError:
                self._failed = True
                self._close_writer()
                raise
        return count

    def copy_to(self, path: str | Path) -> None:
        """Write a consistent copy of the log to ``path``, whole or not at all.

        An earlier copy of this log at ``path`` is brought up to date in place.

        Raises:
            ConflictError: the file at ``path`` is another log, or has events that this one hasn't.
            StorageError: the copy couldn't be written.
        """
        with self._read_lock:
            copy_log(self._read_connection(), self.path, Path(path).absolute(), self._busy_seconds)

    def verify(self) -> None:
        """Read the whole file and check its structure; raise `ArtefactError` where it is damaged."""
        with self._read_lock, storage_errors(self.path, "verified"):
            findings = self._read_connection().pragma("integrity_check")
            if findings != "ok":
                raise apsw.CorruptError(str(findings))

    def close(self) -> None:
        """Finish and release the file; closing twice is fine."""
        with self._write_lock, self._read_lock:
            self._closed = True
            self._release()
        _OPEN_LOGS.discard(self)

    def __enter__(self) -> SQLiteEventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_connection(self) -> apsw.Connection:
        self._check_open()
        if self._writer is None:
            connection = open_connection(self.path, self._busy_seconds)
            try:
                self._settle(connection)
            except BaseException:
                with suppress(apsw.Error):
                    connection.close(True)
                raise
            self._writer = connection
            self._failed = False
        return self._writer

    def _settle(self, connection: apsw.Connection) -> None:
        # After a failed write or fsync, the write-ahead log may hold a commit that isn't on the disk although
        # the operating system now says so. Copying it into the database makes it durable for real, before
        # a redelivery can be acknowledged because of it.
        with storage_errors(self.path, "recovered"):
            try:
                connection.set_busy_timeout(round(self._busy_seconds * 1000) if self._failed else 0)
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            except apsw.BusyError:
                if self._failed:
                    raise
            finally:
                connection.set_busy_timeout(round(self._busy_seconds * 1000))

    def _read_connection(self) -> apsw.Connection:
        self._check_open()
        if self._reader is None:
            self._reader = open_connection(self.path, self._busy_seconds)
        return self._reader

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError(f"the event log {self.path} is closed; open it again")

    def _close_writer(self) -> None:
        if self._writer is not None:
            with suppress(apsw.Error):
                self._writer.close(True)
            self._writer = None

    def _release(self) -> None:
        self._close_writer()
        if self._reader is not None:
            with suppress(apsw.Error):
                self._reader.close(True)
            self._reader = None


# A SQLite connection must not cross a fork, not even to be closed in the child. So every log lets go of its
# connections before a fork and opens new ones at the next use, in the parent and in the child.
_OPEN_LOGS: weakref.WeakSet[SQLiteEventLog] = weakref.WeakSet()
_HELD: list[SQLiteEventLog] = []


def _before_fork() -> None:
    for log in sorted(_OPEN_LOGS, key=id):
        log._write_lock.acquire()
        log._read_lock.acquire()
        log._release()
        _HELD.append(log)


def _after_fork_in_parent() -> None:
    while _HELD:
        log = _HELD.pop()
        log._read_lock.release()
        log._write_lock.release()


def _after_fork_in_child() -> None:
    while _HELD:
        log = _HELD.pop()
        # Batches of threads that don't exist here are the parent's to commit.
        log._queue = deque()
        log._read_lock = threading.Lock()
        log._write_lock = threading.Lock()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
