"""Erasing a user from the files themselves, so that a scan of the raw bytes finds nothing."""

from __future__ import annotations

import apsw

_PENDING = "scrub_pending"


def delete_user(connection: apsw.Connection, user: int | str) -> int:
    """Delete the user's events in one transaction, marked so that a crash can't skip `scrub`."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("DELETE FROM events WHERE user_id = ?", (user,))
        count = connection.changes()
        if count:
            connection.execute("INSERT OR REPLACE INTO settings VALUES (?, '1')", (_PENDING,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return count


def scrub_pending(connection: apsw.Connection) -> bool:
    """Whether deleted events may still have bytes in the files."""
    return bool(connection.execute("SELECT 1 FROM settings WHERE name = ?", (_PENDING,)).get)


def scrub(connection: apsw.Connection) -> None:
    """Rewrite the database and empty the write-ahead log.

    ``secure_delete`` zeroes a deleted row where it lay, but moving rows within and between pages may leave
    copies in unused space, and the write-ahead log holds earlier versions of whole pages.

    Raises:
        apsw.BusyError: another process is reading; the mark stays.
    """
    connection.execute("VACUUM")
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.execute("DELETE FROM settings WHERE name = ?", (_PENDING,))
