"""The headline protocol: people never seen before, after k events."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from metarec_sdk.data import Interactions, Vocabulary, encode, episodes, first_visits
from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.cases import Case, Prepared, Window
from metarec_sdk.evaluation.fingerprint import protocol_hash
from metarec_sdk.evaluation.protocols.time_window import cut_twice
from metarec_sdk.types import Histories


@dataclass(frozen=True, kw_only=True)
class ColdStart:
    """Train before a time T; rank for users unknown to training from their first k events.

    Cold users are those whose first event is at T or later; where they are fewer than ``enough_strict``, a
    share of the other users is held out whole as well. Support = the first k events, query = the next
    ``n_query``, the same users at every k. Validation is the same construction within the training events.
    """

    quantile: float = 0.8
    """Share of the events before T, in (0, 1)."""
    ks: tuple[int, ...] = (0, 1, 3, 5, 10, 20)
    """Support sizes."""
    n_query: int = 10
    """Query events after the support; a user with fewer has as many as there are, at least one."""
    orders: tuple[Literal["time", "random"], ...] = ("time", "random")
    """Order of each user's events before the cut."""
    repeats: Literal["drop"] = "drop"
    """What happens to repeated events on an item: first visits only (discovery). A ranker that leaves seen
    items out can't be judged on repeats."""
    held_out: float = 0.1
    """Share of the known users that is held out whole where strictly cold ones are few."""
    enough_strict: int = 2000
    """Number of strictly cold users from which on nobody else is held out."""
    min_events: int | None = None
    """Distinct items a user needs; largest k + ``n_query`` where None. See `prepare`."""
    min_users: int = 100
    """Where fewer test users have ``min_events``, the demand is lowered, see `prepare`."""
    seed: int = 0
    """Seed of the held-out users and of the random order."""

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1:
            raise ArgumentError(f"quantile must be between 0 and 1, got {self.quantile}")
        if not self.ks or min(self.ks) < 0 or len(set(self.ks)) != len(self.ks):
            raise ArgumentError(f"ks must be different integers ≥ 0, got {self.ks}")
        if self.n_query < 1:
            raise ArgumentError(f"n_query must be at least 1, got {self.n_query}")
        if not self.orders or not set(self.orders) <= {"time", "random"}:
            raise ArgumentError(f"orders must be of 'time' and 'random', got {self.orders}")
        if self.repeats != "drop":
            raise ArgumentError(f"repeats must be 'drop' (first visits only), got {self.repeats!r}")
        if not 0 < self.held_out < 1:
            raise ArgumentError(f"held_out must be between 0 and 1, got {self.held_out}")

    @property
    def name(self) -> str:
        """``cold-start``."""
        return "cold-start"

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that the cut depends on, JSON-able."""
        return asdict(self)

    def prepare(self, log: Interactions) -> Prepared:
        """Cut the log.

        Where fewer than ``min_users`` test users have ``min_events`` distinct items, first one query event is
        enough, then the largest support sizes are left out until enough users remain; the notes say so.

        Raises:
            DataError: nobody is left to train on or to test.
            ArgumentError: no cold user has enough items.
        """
        items = Vocabulary.from_ids(log.frame["item_id"])
        test, validation = cut_twice(
            log,
            quantile=self.quantile,
            held_out=self.held_out,
            enough_strict=self.enough_strict,
            seed=self.seed,
        )
        rng = np.random.default_rng([self.seed, 1])
        test_histories, test_users = _discoveries(test.cold, items)
        validation_histories, validation_users = _discoveries(validation.cold, items)
        ks, min_events, notes = self._feasible(test_histories)
        n_cold = len(test_histories)
        notes.append(
            f"{n_cold - test.n_held_out} users are cold by time, {test.n_held_out} are held out whole; "
            f"{int((test_histories.lengths >= min_events).sum())} of them have the {min_events} items needed"
        )
        # A validation user with fewer events than the test demands is still worth having.
        least = min(min_events, max(ks) + 1)
        return Prepared(
            Window(test.train, self._cases(test_histories, test_users, ks, min_events, rng)),
            Window(validation.train, self._cases(validation_histories, validation_users, ks, least, rng)),
            items,
            protocol_hash(self.name, self.parameters, log),
            tuple(notes),
        )

    def _feasible(self, histories: Histories) -> tuple[list[int], int, list[str]]:
        """Support sizes and events needed, such that enough users have them."""
        ks, notes = sorted(self.ks), list[str]()
        needed = max(ks) + self.n_query if self.min_events is None else max(self.min_events, max(ks) + 1)

        def users(events: int) -> int:
            return int((histories.lengths >= events).sum())

        if users(needed) < self.min_users and users(max(ks) + 1) > users(needed):
            notes.append(f"only {users(needed)} users have {needed} items, so a query of one is enough")
            needed = max(ks) + 1
        while users(needed) < self.min_users and len(ks) > 1 and users(ks[-2] + 1) > users(needed):
            dropped = ks.pop()
            needed = ks[-1] + 1
            notes.append(f"k = {dropped} is left out, which too few users reach")
        if users(needed) == 0:
            raise ArgumentError(
                f"no cold user has {needed} distinct items; lower ks={self.ks} or quantile={self.quantile}, "
                f"or raise held_out={self.held_out}"
            )
        if ks[-1] + self.n_query > needed:
            judged = histories.lengths[histories.lengths >= needed]
            middle = np.median(np.minimum(judged - ks[-1], self.n_query))
            notes.append(f"at k = {ks[-1]} the median query has {middle:g} items")
        return ks, needed, notes

    def _cases(
        self,
        histories: Histories,
        users: Vocabulary,
        ks: list[int],
        min_events: int,
        rng: np.random.Generator,
    ) -> tuple[Case, ...]:
        seed = int(rng.integers(2**63))
        cases = []
        for order in self.orders:
            for k in ks:
                # The same seed at every k: one order a user, cut at different places.
                shuffle = np.random.default_rng(seed)
                cut = episodes(histories, k, self.n_query, order=order, rng=shuffle, min_events=min_events)
                cases.append(Case(self.name, order, k, cut, users))
        return tuple(cases)


def _discoveries(log: Interactions, items: Vocabulary) -> tuple[Histories, Vocabulary]:
    encoded, users, _ = encode(log, items=items)
    return first_visits(encoded.histories), users
