"""Protocols that train on the same events, evaluated together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from metarec_sdk.data import Interactions
from metarec_sdk.evaluation.cases import Case, Prepared
from metarec_sdk.evaluation.encoded_window import EncodedWindow


@dataclass(slots=True)
class Group:
    """Prepared protocols whose training events are the same, in test and in validation."""

    parts: list[Prepared] = field(default_factory=list)

    @property
    def train(self) -> Interactions:
        """The events that the recommender is fitted on."""
        return self.parts[0].test.train

    @property
    def cases(self) -> list[tuple[Case, str]]:
        """Each test case that has users, with the hash of its protocol."""
        return [(case, part.hash) for part in self.parts for case in part.test.cases if len(case.episodes)]

    def test(self) -> EncodedWindow:
        """The test window as baselines see it."""
        cases = [case for part in self.parts for case in part.test.cases]
        return EncodedWindow.of(self.train, cases, self.parts[0].items, self.parts[0].test.ranked)

    def validation(self) -> EncodedWindow:
        """The validation window as baselines see it."""
        cases = [case for part in self.parts for case in part.validation.cases]
        window = self.parts[0].validation
        return EncodedWindow.of(window.train, cases, self.parts[0].items, window.ranked)


def grouped(prepared: Sequence[Prepared]) -> list[Group]:
    """Groups in the order of their first protocol."""
    groups: dict[bytes, Group] = {}
    for part in prepared:
        key = _rows(part.test.train) + _rows(part.validation.train) + _ids(part.test.ranked)
        groups.setdefault(key, Group()).parts.append(part)
    return list(groups.values())


def _ids(ranked: pl.Series | None) -> bytes:
    """Which items are ranked."""
    return b"all" if ranked is None else repr(ranked.sort().to_list()).encode()


def _rows(log: Interactions) -> bytes:
    """Which rows of the source a log holds."""
    return hashlib.sha256(log.frame["row"].sort().to_numpy().tobytes()).digest()
