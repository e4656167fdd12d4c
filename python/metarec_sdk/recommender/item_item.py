"""The item-item member: whose neighbours count, and how far back it listens."""

from __future__ import annotations

from dataclasses import dataclass

from metarec_sdk.heads.item_knn import ItemKNN
from metarec_sdk.types import Float32, Histories, Int32, Int64

Boosts = tuple[Int64, Int32, Float32]
"""CSR (offsets i64[b + 1], items i32[e], added scores f32[e])."""

VARIANTS: dict[str, tuple[bool, int | None]] = {
    "symmetric": (False, None),
    "directed": (True, None),
    "symmetric, last 5": (False, 5),
    "directed, last 5": (True, 5),
}
"""(directed, events listened to) by name; the best on validation serves."""


@dataclass(frozen=True)
class ItemItem:
    """Neighbours together with the number of latest events that they are asked about."""

    neighbours: ItemKNN
    last: int | None
    """None for the whole history."""

    def boosts(self, histories: Histories) -> Boosts:
        """``(K/ΣK)^½`` of each history's latest events, see `ItemKNN.boosts`."""
        heard = histories if self.last is None else histories.last(self.last)
        return self.neighbours.boosts(heard, root=True)
