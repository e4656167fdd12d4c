"""A small world that components are tried on: people in three groups of taste, and a catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from metarec_sdk.testing.sample_tables import event_table, item_table, user_table
from metarec_sdk.types import Episodes, Float32, Histories, Memberships, TopK, TrainingLog

N_USERS, N_ITEMS, N_GROUPS, N_FEATURES = 48, 30, 3, 5
UNSEEN = N_ITEMS - 1
"""The item that nobody took."""


@dataclass(frozen=True)
class World:
    """Everything that a component of any kind may be given."""

    log: TrainingLog
    histories: Histories
    """What is asked about: among them an empty one, a long one and one with the unseen item."""
    features: Float32
    """f32[u, p] of three groups."""
    codes: Float32
    """f32[u, 1], what a clusterer by a column is shown: the code of the segment, -1 for unknown."""
    events: pl.DataFrame
    """See `metarec_sdk.testing.sample_tables.event_table`."""
    items: pl.DataFrame
    """n rows, see `metarec_sdk.testing.sample_tables.item_table`."""
    users: pl.DataFrame
    """u rows, see `metarec_sdk.testing.sample_tables.user_table`."""
    vectors: Float32
    """f32[n, d]."""
    candidates: TopK
    """A list for each of the histories, the first one empty."""


@cache
def world() -> World:
    """Always the same one."""
    rng = np.random.default_rng(7)
    rows = [_taste(user % N_GROUPS, int(rng.integers(4, 12)), rng) for user in range(N_USERS)]
    log = TrainingLog(Histories.from_lists(rows), N_ITEMS)
    long = [int(item) for item in rng.integers(0, UNSEEN, 300)]
    asked = Histories.from_lists([[], [0], [3, 3, 3], [UNSEEN], long, *rows[:11]])
    users = user_table(N_USERS, N_GROUPS)
    features = rng.normal(0, 0.3, (N_USERS, N_FEATURES)) + np.eye(N_FEATURES)[np.arange(N_USERS) % N_GROUPS]
    return World(
        log,
        asked,
        np.ascontiguousarray(features, np.float32),
        _codes(users["segment"]),
        event_table(rows, UNSEEN, rng),
        item_table(N_ITEMS, N_GROUPS),
        users,
        np.ascontiguousarray(rng.normal(0, 1, (N_ITEMS, 6)), np.float32),
        _candidates(len(asked), rng),
    )


def _taste(group: int, length: int, rng: np.random.Generator) -> list[int]:
    own = rng.permutation(np.arange(group, UNSEEN, N_GROUPS))[: max(2, length - 2)]
    other = rng.integers(0, UNSEEN, 2)
    return [int(item) for item in rng.permutation(np.concatenate([own, other]))]


def _codes(column: pl.Series) -> Float32:
    return column.rank("dense").fill_null(0).cast(pl.Float32).to_numpy()[:, None] - np.float32(1)


def _candidates(b: int, rng: np.random.Generator) -> TopK:
    lengths = np.array([0, 1, *[12] * (b - 2)])
    items = [np.sort(rng.permutation(N_ITEMS)[:length]) for length in lengths]
    scores = [np.sort(rng.normal(0, 1, length))[::-1] for length in lengths]
    return TopK(
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate(items).astype(np.int64),
        np.concatenate(scores).astype(np.float32),
    )


def take_lists(lists: TopK, rows: Any) -> TopK:
    """The given rows of ranked lists, in that order."""
    chosen = np.arange(len(lists))[rows]
    lengths = np.diff(lists.offsets)[chosen]
    index = np.concatenate(
        [np.zeros(0, np.int64), *(np.arange(lists.offsets[row], lists.offsets[row + 1]) for row in chosen)]
    )
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return TopK(offsets, lists.items[index], lists.scores[index])


@dataclass(frozen=True)
class Trained:
    """What a meta-learner works on: built-in members, and episodes of the world."""

    backbone: Any
    head: Any
    episodes: Episodes
    memberships: Memberships


def trained() -> Trained:
    """Fitted anew at each call, because a meta-learner may restore the head."""
    from metarec_sdk.backbones.factors import Factors
    from metarec_sdk.heads.natpar import Natpar

    log = world().log
    backbone, head = Factors(factors=8), Natpar()
    backbone.fit(log, np.random.default_rng(1))
    head.fit(log, np.random.default_rng(2))
    histories = log.histories
    users = np.arange(N_USERS, dtype=np.int32)
    episodes = Episodes(histories.first(2), histories.between(2, 12), users)
    memberships = Memberships.parent(N_USERS)
    memberships.tasks[:, 0] = users % N_GROUPS
    return Trained(backbone, head, episodes, memberships)
