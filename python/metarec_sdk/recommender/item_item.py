"""The item-item member: whose neighbours count, and how far back it listens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from metarec_sdk.protocols import Boosts, ItemItemMember
from metarec_sdk.recommender.popularity import band_of
from metarec_sdk.types import Histories, Int32, Int64

MOST_REGRESSED = 6_000
"""Items of a catalogue up to which a regression is tried unasked: 0.3 GB and seconds, n³ of them."""


@dataclass(frozen=True)
class Variant:
    """One way of asking an item-item member."""

    params: Mapping[str, Any]
    """Arguments of its constructor."""
    last: int | None = None
    """Events of a history that it is asked about, counted from the end; None for all."""


VARIANTS: dict[str, Variant] = {
    "symmetric": Variant({"directed": False}),
    "directed": Variant({"directed": True}),
    "symmetric, last 5": Variant({"directed": False}, 5),
    "directed, last 5": Variant({"directed": True}, 5),
    "regression": Variant({"directed": False, "regression": True}),
    "regression with content": Variant({"directed": False, "regression": True, "content": True}),
    "whole history": Variant({}),
    "last 5": Variant({}, 5),
}
"""By name; the one that the stack ranks best with on validation serves, in a band of history lengths another
where that clearly leads."""


@dataclass(frozen=True)
class ItemItem:
    """Fitted neighbours and the variant that serves each band of history lengths."""

    members: list[ItemItemMember]
    variants: list[Variant]
    """One a member: those with the same arguments share it."""
    of_band: Int32
    """i32[bands], which of them."""

    def parts(self, histories: Histories) -> Iterator[tuple[ItemItemMember, Int64, Histories]]:
        """(member, rows i64[r], what it is asked about) for every variant that some row needs."""
        chosen = self.of_band[np.maximum(band_of(histories.lengths), 0)]
        for place in np.unique(chosen):
            rows = np.flatnonzero(chosen == place)
            heard = histories if len(rows) == len(histories) else histories.take(rows)
            last = self.variants[place].last
            yield self.members[place], rows, heard if last is None else heard.last(last)


def together(b: int, parts: list[tuple[Int64, Boosts]]) -> Boosts:
    """The boosts of b rows from those of disjoint sets of rows i64[r]."""
    if len(parts) == 1 and len(parts[0][0]) == b:
        return parts[0][1]
    lengths = np.zeros(b, np.int64)
    for rows, (offsets, _, _) in parts:
        lengths[rows] = np.diff(offsets)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items, values = np.zeros(offsets[-1], np.int32), np.zeros(offsets[-1], np.float32)
    for rows, (own, own_items, own_values) in parts:
        place = np.arange(len(own_items)) + np.repeat(offsets[rows] - own[:-1], np.diff(own))
        items[place], values[place] = own_items, own_values
    return offsets, items, values
