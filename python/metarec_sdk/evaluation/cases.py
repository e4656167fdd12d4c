"""What a protocol hands to the evaluation: windows of training events and the cases to rank in each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from metarec_sdk.data import Interactions, Vocabulary
from metarec_sdk.types import Episodes, Histories, Int32

WHOLE = -1
"""The k of a case whose support is a user's whole history."""


@dataclass(frozen=True, slots=True)
class Case:
    """One line of a report: the same users, ranked from the same amount of support."""

    protocol: str
    """``cold-start``, ``warm`` or ``leave-one-out``."""
    order: str
    """``time`` or ``random``."""
    k: int
    """Support events of each user, or `WHOLE`."""
    episodes: Episodes
    """Support and query over the items of the whole log (`Prepared.items`), known to training or not."""
    users: Vocabulary
    """The people that ``episodes.users`` counts: their side information is known, their events aren't."""

    @property
    def key(self) -> tuple[str, str, int]:
        """(protocol, order, k)."""
        return self.protocol, self.order, self.k


@dataclass(frozen=True, slots=True)
class Window:
    """A training log and the cases that are judged after it."""

    train: Interactions
    """Events to train on; no user of a cold case is in it, no query event either."""
    cases: tuple[Case, ...]
    """The cases of the window; those of one protocol and order have the same users."""
    ranked: pl.Series | None = None
    """Ids of the items that are ranked, of those that ``train`` has; None for all."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A log cut up by a protocol."""

    test: Window
    """What is reported."""
    validation: Window
    """The same construction within the training events of `test`: where baselines are tuned."""
    items: Vocabulary
    """All items of the log, the index space of the cases."""
    hash: str
    """SHA-256 of the protocol's parameters, the data and the protocol schema, in hexadecimal."""
    notes: tuple[str, ...] = field(default=())
    """What was decided on the way, e.g. support sizes that too few users reach."""


def relabelled(histories: Histories, table: Int32) -> Histories:
    """Histories in another index space; -1 where the table i32[n] has no place for an item."""
    padded = np.append(table, np.int32(-1))
    return Histories(padded[histories.items], histories.offsets, histories.weights, histories.timestamps)


def known_only(histories: Histories) -> Histories:
    """Histories without the items outside the catalogue (-1), which nothing can be learned from."""
    return histories.keep(histories.items >= 0)
