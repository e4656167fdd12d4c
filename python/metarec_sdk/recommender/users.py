"""What every user did: the histories of the published generation and the events since."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metarec_sdk.data import Vocabulary
from metarec_sdk.errors import UnknownIdError
from metarec_sdk.types import Float32, Histories, Int32, Int64


@dataclass
class Users:
    """Histories by external user id; `add` is the event clock."""

    vocabulary: Vocabulary
    base: Histories
    """u rows, what the generation was published with."""
    features: Float32
    """f32[u, p], standardised behaviour features at the last training."""
    codes: Int32 | None
    """i32[u], known task of each user, -1 for unknown; None where tasks don't come from a column."""
    _since: dict[int | str, list[tuple[int, float, int]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, user: int | str, item: int, weight: float, timestamp: int) -> None:
        """One more event: item index, weight ω, microseconds. A user never seen before is welcome."""
        with self._lock:
            events = self._since.setdefault(user, [])
            events.append((item, weight, max(timestamp, events[-1][2]) if events else timestamp))

    def rows(self, users: Sequence[int | str]) -> Int32:
        """i32[b], row of each user in the generation, -1 for somebody who came since.

        Raises `UnknownIdError` for somebody without an event and without a row.
        """
        rows = self.vocabulary.encode(users)
        for place in np.flatnonzero(rows < 0):
            user = users[int(place)]
            if user not in self._since:
                raise UnknownIdError(
                    f"user {user!r} is not known: no event of theirs was trained on or observed; "
                    f"for somebody new pass history=[[...]] with item ids"
                )
        return rows

    def histories(self, users: Sequence[int | str], rows: Int32) -> Histories:
        """b rows, oldest event first, up to the latest observed event."""
        known = rows >= 0
        lengths = np.where(known, self.base.lengths[rows], 0) if len(self.base) else np.zeros(len(rows), int)
        base = self.base.take(np.maximum(rows, 0)).first(lengths) if len(self.base) else _empty(len(rows))
        if not self._since:
            return base
        with self._lock:
            later = [tuple(self._since.get(user, ())) for user in users]
        if not any(later):
            return base
        return base.join(_histories(later, base))

    def task_inputs(self, rows: Int32) -> tuple[Float32, Int32 | None]:
        """(f32[b, p] behaviour features, i32[b] codes or None) of the users; unknown ones 0 and -1."""
        known = rows >= 0
        features = np.zeros((len(rows), self.features.shape[1]), np.float32)
        features[known] = self.features[rows[known]]
        if self.codes is None:
            return features, None
        codes = np.full(len(rows), -1, np.int32)
        codes[known] = self.codes[rows[known]]
        return features, codes

    def __contains__(self, user: object) -> bool:
        return user in self.vocabulary or user in self._since

    def since(self) -> list[Any]:
        """Ids of the users with events since the generation was published."""
        return list(self._since)


def _empty(b: int) -> Histories:
    return Histories.from_lists([[]] * b)


def _histories(rows: Sequence[Sequence[tuple[int, float, int]]], base: Histories) -> Histories:
    """Observed events as histories whose times never precede the end of the base row."""
    flat = [event for row in rows for event in row]
    lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
    offsets: Int64 = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    floor = np.zeros(len(rows), np.int64)
    filled = base.lengths > 0
    floor[filled] = base.timestamps[base.offsets[1:][filled] - 1]
    times = np.fromiter((event[2] for event in flat), np.int64, len(flat))
    return Histories(
        np.fromiter((event[0] for event in flat), np.int32, len(flat)),
        offsets,
        np.fromiter((event[1] for event in flat), np.float32, len(flat)),
        np.maximum(times, np.repeat(floor, lengths)),
    )
