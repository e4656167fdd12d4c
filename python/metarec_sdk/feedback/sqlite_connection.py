"""Opening an event log's SQLite file so that it keeps what it acknowledges, and SQLite's errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from metarec_sdk.errors import ArtefactError, MetarecError, StorageError

OLDEST_SQLITE = (3, 51, 3)
"""3.7.0 to 3.51.2 can lose committed transactions in WAL mode (the WAL-reset race)."""

SCHEMA_VERSION = 1
APPLICATION_ID = 0x6D726563
"""``mrec``; marks the file as an event log."""

# STRICT keeps dtypes; ANY keeps an id an integer or a text as given; AUTOINCREMENT never gives a sequence
# number twice, even after the newest events were erased.
SCHEMA = {
    "events": """CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE,
        user_id ANY NOT NULL, item_id ANY NOT NULL, timestamp INTEGER NOT NULL, event_type TEXT NOT NULL,
        value REAL, request_id TEXT, position INTEGER, propensity REAL,
        generation TEXT, shown TEXT) STRICT""",
    "events_by_user": "CREATE INDEX events_by_user ON events (user_id)",
    "settings": "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
}


def check_sqlite_version() -> None:
    """Raise `StorageError` where apsw carries a SQLite with the WAL-reset race."""
    found = apsw.sqlite_lib_version()
    if tuple(int(part) for part in found.split(".")) < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise StorageError(
            f"the event log needs SQLite ≥ {wanted} (older ones can lose committed events in WAL mode), "
            f"apsw {apsw.apsw_version()} carries {found}; run: pip install --upgrade 'apsw>={wanted}'"
        )


@contextmanager
def storage_errors(path: Path, action: str, consequence: str = "") -> Iterator[None]:
    """Turn SQLite's errors into `StorageError` and `ArtefactError` that name the file and the remedy."""
    try:
        yield
    except apsw.Error as error:
        raise _translated(error, path, action, consequence) from error


def _translated(error: apsw.Error, path: Path, action: str, consequence: str) -> MetarecError:
    tail = f"; {consequence}" if consequence else ""
    if isinstance(error, (apsw.NotADBError, apsw.CorruptError)):
        return ArtefactError(f"{path} can't be {action}: it is damaged or no event log ({error}){tail}")
    reasons: list[tuple[type[apsw.Error], str]] = [
        (apsw.FullError, "the disk is full; free some space and try again"),
        (apsw.ReadOnlyError, "it is read-only; make the file and its folder writable"),
        (apsw.CantOpenError, "it can't be opened; check that its folder exists and is writable"),
        (apsw.BusyError, "another process holds it; try again when that has finished"),
        (apsw.LockedError, "another process holds it; try again when that has finished"),
        (apsw.IOError, "the disk reported an error"),
    ]
    reason = next((text for kind, text in reasons if isinstance(error, kind)), "SQLite refused")
    return StorageError(f"{path} can't be {action}: {reason} ({error}){tail}")


def open_connection(path: Path, busy_seconds: float) -> apsw.Connection:
    """A connection in WAL mode with full synchronisation, the schema made or checked.

    Raises:
        StorageError: the file can't be opened or written.
        ArtefactError: the file is no event log, is damaged, or comes from a newer version.
    """
    with storage_errors(path, "opened"):
        connection = apsw.Connection(str(path))
        try:
            connection.set_busy_timeout(round(busy_seconds * 1000))
            connection.pragma("trusted_schema", False)
            if connection.execute("SELECT count(*) FROM sqlite_schema").get:
                check_schema(connection, path)
            if connection.pragma("journal_mode", "wal") != "wal":
                raise StorageError(
                    f"{path} can't be opened: its file system doesn't support SQLite's WAL mode"
                )
            connection.pragma("synchronous", "full")
            connection.pragma("fullfsync", True)  # on macOS, plain fsync doesn't reach the disk
            connection.pragma("secure_delete", True)
            _create_schema(connection)
            check_schema(connection, path)
        except BaseException:
            with suppress(apsw.Error):
                connection.close(True)
            raise
    return connection


def _create_schema(connection: apsw.Connection) -> None:
    if connection.pragma("user_version"):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have made it while we waited for the lock.
        if not connection.pragma("user_version"):
            for statement in SCHEMA.values():
                connection.execute(statement)
            connection.execute("INSERT INTO settings VALUES ('log_id', lower(hex(randomblob(16))))")
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", SCHEMA_VERSION)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check_schema(connection: apsw.Connection, path: Path) -> None:
    """Raise `ArtefactError` unless the file is an event log of this version, with nothing added to it."""
    version = connection.pragma("user_version")
    if connection.pragma("application_id") != APPLICATION_ID:
        raise ArtefactError(f"{path} is a SQLite file but no metarec event log; give another path")
    if version != SCHEMA_VERSION:
        raise ArtefactError(
            f"{path} has event log version {version}, this metarec-sdk reads {SCHEMA_VERSION}; "
            f"upgrade metarec-sdk (pip install --upgrade metarec-sdk)"
        )
    found = dict(
        connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE sql NOT NULL AND name != 'sqlite_sequence'"
        )
    )
    # A trigger or view that somebody added would run with our statements.
    if found != SCHEMA:
        changed = sorted(name for name in found.keys() | SCHEMA if found.get(name) != SCHEMA.get(name))
        raise ArtefactError(f"{path} was altered: its schema differs in {changed}; restore it from a copy")
