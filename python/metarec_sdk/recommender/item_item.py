"""The item-item member: whose neighbours count, and how far back it listens."""

from __future__ import annotations

from dataclasses import dataclass

from metarec_sdk.protocols import Boosts, ItemItemMember
from metarec_sdk.types import Histories

VARIANTS: dict[str, tuple[bool | None, int | None]] = {
    "symmetric": (False, None),
    "directed": (True, None),
    "symmetric, last 5": (False, 5),
    "directed, last 5": (True, 5),
}
"""(directed, events listened to) by name; the best on validation serves."""

UNDIRECTED: dict[str, tuple[bool | None, int | None]] = {"whole history": (None, None), "last 5": (None, 5)}
"""The variants of a member that doesn't let itself be asked whose neighbours count."""


@dataclass(frozen=True)
class ItemItem:
    """Neighbours together with the number of latest events that they are asked about."""

    neighbours: ItemItemMember
    last: int | None
    """None for the whole history."""
    directed: bool | None = None
    """What the member was asked for; None where it can't be asked."""

    def boosts(self, histories: Histories) -> Boosts:
        """What the member says of each history's latest events, see `ItemItemMember.boosts`."""
        heard = histories if self.last is None else histories.last(self.last)
        return self.neighbours.boosts(heard)
