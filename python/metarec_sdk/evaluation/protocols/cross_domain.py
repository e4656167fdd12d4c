"""Starting in one domain with a history from another: transfer between domains that share their people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from metarec_sdk.data import Interactions, Vocabulary, encode, first_visits
from metarec_sdk.data.episodes import shuffled
from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.cases import Case, Prepared, Window
from metarec_sdk.evaluation.fingerprint import protocol_hash
from metarec_sdk.evaluation.protocols.time_window import cut_twice
from metarec_sdk.types import Episodes


@dataclass(frozen=True, kw_only=True)
class CrossDomain:
    """Train on other people's events in both domains; rank one domain from k events in the other.

    The domain of an item is what stands before the slash of its id. Users are held out whole; support = k of
    their events in ``source``, query = ``n_query`` of those in ``target``, the same at every k, both in
    random order. Ranking is over the items of ``target`` seen in training. The log has no times: with them a
    support could be later than its query.
    """

    source: str
    """Domain of the support."""
    target: str
    """Domain of the query and of everything ranked."""
    ks: tuple[int, ...] = (0, 1, 3, 5, 10, 20)
    """Support sizes; the largest are left out where fewer than ``min_users`` people have so many."""
    n_query: int = 10
    """Query events; a person with fewer has as many as there are, at least one."""
    held_out: float = 0.2
    """Share of the users that is held out whole."""
    min_users: int = 100
    """People that a support size needs."""
    seed: int = 0
    """Seed of the held-out users and of the random order."""

    def __post_init__(self) -> None:
        if self.source == self.target:
            raise ArgumentError(f"source and target must be two domains, got {self.source!r} twice")
        if not self.ks or min(self.ks) < 0 or len(set(self.ks)) != len(self.ks):
            raise ArgumentError(f"ks must be different integers ≥ 0, got {self.ks}")
        if self.n_query < 1:
            raise ArgumentError(f"n_query must be at least 1, got {self.n_query}")
        if not 0 < self.held_out < 1:
            raise ArgumentError(f"held_out must be between 0 and 1, got {self.held_out}")

    @property
    def name(self) -> str:
        """``cross-domain``."""
        return "cross-domain"

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that the cut depends on, JSON-able."""
        return asdict(self)

    def prepare(self, log: Interactions) -> Prepared:
        """Cut the log.

        Raises:
            ArgumentError: the log has times, or nobody held out has events in both domains.
            DataError: nobody is left to train on or to test.
        """
        if log.has_time:
            raise ArgumentError("the cross-domain protocol takes no times: read the log with time=None")
        items = Vocabulary.from_ids(log.frame["item_id"])
        test, validation = cut_twice(
            log, quantile=0.8, held_out=self.held_out, enough_strict=0, seed=self.seed
        )
        rng = np.random.default_rng([self.seed, 1])
        people, users = self._people(test.cold, items, rng)
        ks, notes = self._feasible(people)
        notes.append(f"{(people.support.lengths >= ks[-1]).sum()} people are judged")
        return Prepared(
            self._window(test.train, people, users, ks),
            self._window(validation.train, *self._people(validation.cold, items, rng), ks),
            items,
            protocol_hash(self.name, self.parameters, log),
            tuple(notes),
        )

    def _people(
        self, log: Interactions, items: Vocabulary, rng: np.random.Generator
    ) -> tuple[Episodes, Vocabulary]:
        """Everything of each person in the source as support, and the query; only who has both."""
        encoded, users, _ = encode(log, items=items)
        histories = shuffled(first_visits(encoded.histories), rng)
        domains = _domains(items)[histories.items]
        support, query = (histories.keep(domains == name) for name in (self.source, self.target))
        rows = np.flatnonzero((support.lengths > 0) & (query.lengths > 0)).astype(np.int32)
        return Episodes(support.take(rows), query.take(rows).first(self.n_query), rows), users

    def _feasible(self, people: Episodes) -> tuple[list[int], list[str]]:
        ks, notes = sorted(self.ks), list[str]()
        lengths = people.support.lengths
        while len(ks) > 1 and (lengths >= ks[-1]).sum() < self.min_users:
            notes.append(f"k = {ks.pop()} is left out: too few users have so many items in {self.source}")
        if not (lengths >= ks[-1]).any():
            raise ArgumentError(
                f"nobody held out has {max(ks[-1], 1)} items in {self.source!r} and one in {self.target!r}"
            )
        return ks, notes

    def _window(self, train: Interactions, people: Episodes, users: Vocabulary, ks: list[int]) -> Window:
        enough = people.take(people.support.lengths >= ks[-1])
        cut = [Episodes(enough.support.first(k), enough.query, enough.users) for k in ks]
        ids = train.frame["item_id"].unique().sort()
        return Window(
            train,
            tuple(Case(self.name, "random", k, each, users) for k, each in zip(ks, cut)),
            ids.filter(ids.str.starts_with(f"{self.target}/")),
        )


def _domains(items: Vocabulary) -> np.ndarray[Any, np.dtype[Any]]:
    return np.array([str(item).partition("/")[0] for item in items.ids])
