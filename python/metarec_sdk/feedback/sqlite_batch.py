"""Group commit: the batches of several callers in one transaction, each of them all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import apsw

from metarec_sdk.errors import ArtefactError, DataError, MetarecError, StorageError
from metarec_sdk.feedback.event import EventRow

_INSERT = f"""INSERT INTO events ({", ".join(EventRow._fields)})
    VALUES ({", ".join("?" * len(EventRow._fields))})"""
_STORED = f"SELECT seq, {', '.join(EventRow._fields)} FROM events WHERE event_id = ?"
_KINDS = ("user_ids", "item_ids")

Kinds = tuple[str | None, str | None]
"""("integer", "string" or None) for users and for items."""


@dataclass(slots=True, eq=False)
class Batch:
    """Events of one `append` on their way into the log."""

    rows: list[EventRow]
    seqs: list[int] = field(default_factory=list)
    error: MetarecError | None = None
    done: bool = False

    def result(self) -> list[int]:
        """The sequence numbers, or the error."""
        if not self.done:
            raise StorageError("the append was interrupted; appending the same events again is safe")
        if self.error is not None:
            raise self.error
        return self.seqs

    def fail(self, error: BaseException) -> None:
        """Give the batch an error of its own for the failure of the whole group."""
        kind = type(error) if isinstance(error, (StorageError, ArtefactError, DataError)) else StorageError
        self.error = kind(str(error) if isinstance(error, MetarecError) else f"the append failed: {error!r}")
        self.error.__cause__ = error
        self.done = True


def kind_of(value: int | str) -> str:
    """The kind of an id."""
    return "string" if isinstance(value, str) else "integer"


def id_kinds(connection: apsw.Connection) -> Kinds:
    """What kinds of ids the log holds; None where nothing has decided it."""
    query = "SELECT name, value FROM settings WHERE name IN (?, ?)"
    found = dict(connection.execute(query, _KINDS))
    return found.get("user_ids"), found.get("item_ids")


def store_batches(
    connection: apsw.Connection,
    batches: Sequence[Batch],
    clock: Callable[[], int],
    wanted: Kinds = (None, None),
) -> None:
    """Commit all batches in one transaction; a batch refused for its content fails alone.

    On return the commit is durable and every batch has its ``seqs`` or its ``error``.

    Raises:
        apsw.Error: nothing was committed.
        DataError: the log's ids are of another kind than ``wanted``.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        kinds = _settle_kinds(connection, wanted)
        for batch in batches:
            connection.execute("SAVEPOINT batch")
            try:
                batch.seqs, kinds = _store(connection, batch.rows, kinds, clock)
            except DataError as error:
                batch.error = error
                connection.execute("ROLLBACK TO batch")
            connection.execute("RELEASE batch")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _settle_kinds(connection: apsw.Connection, wanted: Kinds) -> Kinds:
    known = id_kinds(connection)
    for name, has, wants in zip(_KINDS, known, wanted):
        if has is not None and wants is not None and has != wants:
            raise DataError(f"{name}={wants!r} was asked for, but this log has {has} ids; use another log")
        if has is None and wants is not None:
            connection.execute("INSERT INTO settings VALUES (?, ?)", (name, wants))
    return known[0] or wanted[0], known[1] or wanted[1]


def _store(
    connection: apsw.Connection, rows: Sequence[EventRow], kinds: Kinds, clock: Callable[[], int]
) -> tuple[list[int], Kinds]:
    fresh = kinds[0] or kind_of(rows[0].user_id), kinds[1] or kind_of(rows[0].item_id)
    for place, row in enumerate(rows):
        for column, value, kind in (("user_id", row.user_id, fresh[0]), ("item_id", row.item_id, fresh[1])):
            if kind_of(value) != kind:
                raise DataError(
                    f"event {place} of the batch: {column} is {value!r}, but this log has {kind} ids there; "
                    f"convert it, nothing of the batch was stored"
                )
    for name, had, has in zip(_KINDS, kinds, fresh):
        if had is None:
            connection.execute("INSERT INTO settings VALUES (?, ?)", (name, has))
    seqs = []
    for place, row in enumerate(rows):
        stamped = row if row.timestamp is not None else row._replace(timestamp=clock())
        try:
            # Not ON CONFLICT DO NOTHING, which would use up a sequence number for each redelivery.
            connection.execute(_INSERT, stamped)
            seqs.append(connection.last_insert_rowid())
        except apsw.ConstraintError:
            seqs.append(_redelivered(connection, place, row))
    return seqs, fresh


def _redelivered(connection: apsw.Connection, place: int, row: EventRow) -> int:
    found: tuple[Any, ...] = connection.execute(_STORED, (row.event_id,)).fetchall()[0]
    seq: int = found[0]
    for column, old, new in zip(EventRow._fields, found[1:], row):
        if old != new and not (column == "timestamp" and new is None):
            raise DataError(
                f"event {place} of the batch: event_id {row.event_id!r} is in the log (seq {seq}) with "
                f"{column} {old!r}, got {new!r}; give the new event its own id, nothing of the batch "
                f"was stored"
            )
    return seq
