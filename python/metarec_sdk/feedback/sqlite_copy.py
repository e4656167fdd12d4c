"""Copying an event log to another file, for a saved model that carries its log."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import apsw

from metarec_sdk.errors import ConflictError, StorageError
from metarec_sdk.feedback.sqlite_connection import open_connection, storage_errors


def copy_log(source: apsw.Connection, source_path: Path, path: Path, busy_seconds: float) -> None:
    """Copy the log behind ``source`` to ``path``: a new file, or an earlier copy brought up to date."""
    if path.exists() and source_path.exists() and path.samefile(source_path):
        return
    if path.exists():
        _update(source, path, busy_seconds)
    else:
        _create(source, path)


def _create(source: apsw.Connection, path: Path) -> None:
    aside = path.with_name(f"{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        with storage_errors(path, "written"):
            source.execute("VACUUM INTO ?", (str(aside),))
        try:
            _synchronise(aside)
            # Not a rename, which would replace a log that somebody made meanwhile, under its users.
            os.link(aside, path)
            _synchronise(path.parent)
        except FileExistsError:
            raise ConflictError(f"{path} was made by somebody else meanwhile; try again") from None
        except OSError as error:
            raise StorageError(f"{path} can't be written: {error}") from error
    finally:
        with suppress(OSError):
            aside.unlink()


def _update(source: apsw.Connection, path: Path, busy_seconds: float) -> None:
    # SQLite's own backup, because the copy may be open elsewhere: it changes in one transaction.
    target = open_connection(path, busy_seconds)
    try:
        with storage_errors(path, "brought up to date"):
            identity = "SELECT value FROM settings WHERE name = 'log_id'"
            if target.execute(identity).get != source.execute(identity).get:
                raise ConflictError(f"{path} is another event log; save to another folder")
            newest = "SELECT seq, event_id FROM events ORDER BY seq DESC LIMIT 1"
            last = target.execute(newest).fetchall()
            known = "SELECT seq, event_id FROM events WHERE seq = ?"
            if last and source.execute(known, last[0][:1]).fetchall() != last:
                raise ConflictError(
                    f"{path} has events that this log hasn't, up to seq {last[0][0]}; save to another folder"
                )
            with target.backup("main", source, "main") as backup:
                while not backup.done:
                    backup.step(-1)
            target.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        with suppress(apsw.Error):
            target.close(True)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
