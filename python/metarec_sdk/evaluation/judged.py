"""Where the wanted items stand in the ranked lists: what every metric is computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import Histories, Int32, Int64, TopK

MISSED = np.iinfo(np.int64).max
"""Position of a wanted item that isn't in the list."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Ranked lists compared with what the users took next.

    A wanted item that occurs twice in a query counts once; items unknown to the catalogue (index -1) each
    count as wanted and missed.
    """

    items: Int32
    """i32[e], wanted items, row after row; -1 is an item outside the catalogue."""
    rows: Int64
    """i64[e], the user's row of each wanted item."""
    positions: Int64
    """i64[e], 0 for the top of the list, `MISSED` for an item that isn't listed."""
    n_wanted: Int64
    """i64[b], ≥ 1, wanted items of each user."""

    def __len__(self) -> int:
        return len(self.n_wanted)


def judge(lists: TopK, query: Histories) -> Judged:
    """Compare ranked lists with query sets, row by row.

    Args:
        lists: b lists, best first.
        query: b rows of ≥ 1 wanted items in the same index space; -1 is an item outside the catalogue.

    Raises:
        ArgumentError: the two differ in length, or a query row is empty (its metrics are undefined).
    """
    if len(lists) != len(query):
        raise ArgumentError(f"lists and query must have the same rows, got {len(lists)} and {len(query)}")
    lengths = query.lengths
    if (lengths == 0).any():
        row = int(np.flatnonzero(lengths == 0)[0])
        raise ArgumentError(f"query row {row} is empty: leave out users without a query item")
    rows = np.repeat(np.arange(len(query)), lengths)  # [e]
    wanted = query.items.astype(np.int64)
    base = 1 + max(int(wanted.max(initial=0)), int(lists.items.max(initial=0)))

    first = _first_occurrences(rows * base + wanted) | (wanted < 0)
    rows, wanted = rows[first], wanted[first]

    list_rows = np.repeat(np.arange(len(lists)), np.diff(lists.offsets))  # [o]
    listed = list_rows * base + lists.items
    place = np.arange(len(listed)) - lists.offsets[list_rows]
    order = np.argsort(listed, kind="stable")
    listed, place = listed[order], place[order]

    key = rows * base + wanted
    at = np.searchsorted(listed, key)
    found = (at < len(listed)) & (wanted >= 0)
    found[found] = listed[at[found]] == key[found]
    positions = np.full(len(key), MISSED, np.int64)
    positions[found] = place[at[found]]
    n_wanted = np.bincount(rows, minlength=len(query)).astype(np.int64)
    return Judged(wanted.astype(np.int32), rows, positions, n_wanted)


def _first_occurrences(keys: Int64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """bool[e], True where a key appears for the first time."""
    first = np.zeros(len(keys), np.bool_)
    first[np.unique(keys, return_index=True)[1]] = True
    return first
