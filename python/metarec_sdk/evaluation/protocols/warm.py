"""People who are known already: what they take after a global time T."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from metarec_sdk.data import Interactions, Vocabulary, encode, first_visits
from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.cases import WHOLE, Case, Prepared, Window
from metarec_sdk.evaluation.fingerprint import protocol_hash
from metarec_sdk.evaluation.protocols.time_window import Cut, cut_twice
from metarec_sdk.types import Episodes


@dataclass(frozen=True, kw_only=True)
class Warm:
    """Train before a time T; rank for known users what they take from T on.

    Support = all their events before T, query = their next ``n_query`` new items. With the parameters and
    seed of `ColdStart` both train on the very same events, so that one fit serves both; the users that are
    held out for `ColdStart` are not among the known ones.
    """

    quantile: float = 0.8
    """Share of the events before T, in (0, 1)."""
    n_query: int = 10
    """Query items; 1 for strict next-item prediction."""
    repeats: Literal["drop"] = "drop"
    """First visits only, as in `ColdStart`."""
    held_out: float = 0.1
    """As in `ColdStart`."""
    enough_strict: int = 2000
    """As in `ColdStart`."""
    seed: int = 0
    """As in `ColdStart`."""

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise ArgumentError(f"quantile must be between 0 and 1, got {self.quantile}")
        if self.n_query < 1:
            raise ArgumentError(f"n_query must be at least 1, got {self.n_query}")
        if self.repeats != "drop":
            raise ArgumentError(f"repeats must be 'drop' (first visits only), got {self.repeats!r}")
        if not 0 < self.held_out < 1:
            raise ArgumentError(f"held_out must be between 0 and 1, got {self.held_out}")

    @property
    def name(self) -> str:
        """``warm``."""
        return "warm"

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that the cut depends on, JSON-able."""
        return asdict(self)

    def prepare(self, log: Interactions) -> Prepared:
        """Cut the log.

        Raises:
            ArgumentError: the log has no times, or no known user has a new item from T on.
        """
        if not log.has_time:
            raise ArgumentError(
                "the warm protocol cuts at a global time and the log has none: read it with time=, or use "
                "protocol='leave-one-out'"
            )
        items = Vocabulary.from_ids(log.frame["item_id"])
        test, validation = cut_twice(
            log,
            quantile=self.quantile,
            held_out=self.held_out,
            enough_strict=self.enough_strict,
            seed=self.seed,
        )
        case = self._case(test, items)
        if len(case.episodes) == 0:
            raise ArgumentError(
                f"no known user has a new item after quantile={self.quantile} of the events; choose another"
            )
        return Prepared(
            Window(test.train, (case,)),
            Window(validation.train, (self._case(validation, items),)),
            items,
            protocol_hash(self.name, self.parameters, log),
            (f"{len(case.episodes)} known users take new items after T",),
        )

    def _case(self, cut: Cut, items: Vocabulary) -> Case:
        users = Vocabulary.from_ids(cut.train.frame["user_id"])
        before = first_visits(encode(cut.train, users=users, items=items)[0].histories)
        later = encode(cut.warm, users=users, items=items)[0].histories
        discovered = first_visits(before.join(later))
        query = discovered.between(before.lengths, before.lengths + self.n_query)
        rows = np.flatnonzero(query.lengths > 0).astype(np.int32)
        return Case(self.name, "time", WHOLE, Episodes(before.take(rows), query.take(rows), rows), users)
