"""The contract of a durable event log, so that other stores than SQLite can stand behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from metarec_sdk.feedback.event import Event

if TYPE_CHECKING:
    import polars as pl


@runtime_checkable
class EventLog(Protocol):
    """An append-only log of events, the truth that every generation is trained from.

    An event is acknowledged, by `append` returning, only after it is durable; an acknowledged event is never
    lost, doubled or half applied. Sequence numbers rise with every event and are never used twice, not even
    after an erasure.
    """

    @property
    def last_seq(self) -> int:
        """The highest sequence number given so far; 0 for a new log."""

    def append(self, events: Sequence[Event]) -> list[int]:
        """Store all of the events or none, durably, and return their sequence numbers in order.

        An event whose ``event_id`` is in the log with the same content is acknowledged again with its old
        number.

        Raises:
            DataError: an event is invalid, or its id is in the log with other content.
            StorageError: the log couldn't be written; nothing was acknowledged, and a retry is safe.
        """

    def read(
        self,
        after_seq: int = 0,
        upto: int | None = None,
        limit: int | None = None,
        *,
        user: int | str | None = None,
    ) -> pl.DataFrame:
        """Events with ``after_seq < seq ≤ upto``, oldest first, at most ``limit``, of one user or of all.

        The columns are the canonical ones of `metarec_sdk.data.Interactions` (``row`` is the sequence
        number) followed by ``seq``, ``request_id``, ``position``, ``propensity``, ``generation`` and
        ``shown`` (JSON).
        """

    def erase_user(self, user: int | str) -> int:
        """Remove every trace of the user's events from storage and return how many there were."""

    def close(self) -> None:
        """Release the storage; the log can't be used afterwards."""
