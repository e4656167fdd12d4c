"""What the evaluation needs of a recommender."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, runtime_checkable

import polars as pl

from metarec_sdk.data import Interactions, Vocabulary
from metarec_sdk.types import Histories, Memberships, Ranker, TopK


@runtime_checkable
class Divisible(Protocol):
    """A stack that can be asked what it is without one of its members."""

    def without_members(self) -> Mapping[str, Ranker]:
        """By member, the stack without it."""


class Contender(Protocol):
    """A recommender that can be cloned, fitted and asked for lists: `metarec_sdk.Recommender`, or yours."""

    @property
    def items(self) -> Vocabulary:
        """The items that the lists are over, once fitted."""

    def clone(self, *, seed: int) -> Self:
        """An unfitted copy of the same configuration with another seed."""

    def fit(
        self, log: Interactions, *, items: pl.DataFrame | None = None, users: pl.DataFrame | None = None
    ) -> Any:
        """Train."""

    def rank(self, histories: Histories, k: int, memberships: Memberships | None = None) -> TopK:
        """The k best items for each history, without those of the history."""

    def members(self) -> Mapping[str, Ranker]:
        """The parts of a stack, each as a ranker of its own; may be empty."""
