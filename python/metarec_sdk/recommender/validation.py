"""Validation inside a fit: an earlier window of the same log, and the episodes drawn from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.data import episodes
from metarec_sdk.data.episodes import first_visits, shuffled
from metarec_sdk.recommender.episode_scores import MAX_CELLS
from metarec_sdk.types import Episodes, Histories, Int64, TrainingLog

SUPPORT_SIZES = (1, 3, 5, 10, 20)
"""Support sizes k at which validation episodes are drawn, the same users at every k."""

TRAINING_SIZES = (0, 1, 2, 3, 5, 7, 10, 20, 50)
"""Support sizes k that meta-training episodes are drawn from."""

N_QUERY = 10

_LEAST_USERS = 20

_MAX_TRAINING_EPISODES = 8_000

_MOST_ORDERS = 3
_CELLS_OF_ORDERS = 3_000_000
"""Orders in which one history without an order is judged, while all their scores stay few: more orders steady
a small log, and take time on a large one, which has people enough."""


@dataclass(frozen=True)
class ValidationEpisodes:
    """Episodes of people that the members were not trained on, and of known people later on."""

    few_shot: Episodes
    """Support of 1 to 20 events of new users and their continuation; known users in the last rows. ``users``
    counts the rows of the cold batch, and of the known batch in the last rows."""
    empty: Episodes
    """The same new users with k = 0."""
    n_new: int
    """How many rows of ``few_shot`` are new users'."""

    @property
    def people(self) -> Int64:
        """i64[E], who each few-shot episode belongs to; known users never share a number with new ones."""
        users = self.few_shot.users.astype(np.int64)
        users[self.n_new :] += int(users.max(initial=0)) + 1
        return users


def validation_episodes(
    cold_log: TrainingLog, known: Histories, later: Histories, n_items: int, rng: np.random.Generator
) -> ValidationEpisodes | None:
    """Episodes from the cold users' whole histories, and from known users' training histories followed by
    what they did later (two equally long batches). None where nobody can be judged.

    Where order means nothing, each cold user gives several episodes of a size, each in an order of its own.

    Users need as many events as the largest support that half of them reach plus one query event, the same
    users at all sizes up to there; each larger size has the users who are long enough for it.
    """
    budget = max(50, MAX_CELLS // max(n_items, 1))
    cold = cold_log.histories
    lengths = first_visits(cold).lengths
    sizes, common = _usable_sizes(lengths)
    parts: list[Episodes] = []
    empty = episodes(cold, 0, N_QUERY, min_events=common + 1)
    per_size = max(_LEAST_USERS, budget // (len(sizes) + 1))
    together = _sample(lengths > common, per_size, rng)
    people = [together if k <= common else _sample(lengths > k, per_size, rng) for k in sizes]
    once = sum(map(len, people)) * n_items
    draws = 1 if cold_log.ordered else int(np.clip(_CELLS_OF_ORDERS // max(once, 1), 1, _MOST_ORDERS))
    for draw in range(draws):
        in_order = shuffled(cold, rng) if draw else cold
        parts += [_of(rows, episodes(in_order.take(rows), k, N_QUERY)) for k, rows in zip(sizes, people)]
    n_new = sum(len(part) for part in parts)
    active = np.flatnonzero((known.lengths > 0) & (later.lengths > 0))
    active = rng.permutation(active)[:per_size]
    if len(active):
        before = first_visits(known.take(active))
        parts.append(_of(active, episodes(before.join(later.take(active)), before.lengths, N_QUERY)))
    few_shot = _joined(parts)
    if few_shot is None:
        return None
    return ValidationEpisodes(few_shot, empty.take(slice(0, budget)), n_new)


def training_episodes(log: TrainingLog, rng: np.random.Generator) -> Episodes:
    """Episodes with supports of random size from every user that is long enough, at most 8,000; of a log that
    isn't ordered, each from a new random order."""
    histories = log.histories
    rounds = int(np.clip(_MAX_TRAINING_EPISODES // max(len(histories), 1), 1, 6))
    users = np.arange(len(histories))
    if len(users) > _MAX_TRAINING_EPISODES:
        users = np.sort(rng.choice(users, _MAX_TRAINING_EPISODES, replace=False))
    chosen = histories.take(users)
    parts = []
    for _ in range(rounds):
        longest = np.maximum(chosen.lengths - 1, 0)
        sizes = np.minimum(rng.choice(TRAINING_SIZES, len(chosen)), longest)
        drawn = episodes(
            chosen, sizes.astype(np.int64), N_QUERY, order="time" if log.ordered else "random", rng=rng
        )
        parts.append(_of(users, drawn))
    found = _joined(parts)
    return found if found is not None else parts[0]


def _usable_sizes(lengths: Int64) -> tuple[list[int], int]:
    """(support sizes that 20 users of these lengths can fill with a query left, the largest that also half of
    them can): at a size that few reach they decide alone, not what holds for shorter histories."""
    enough = [int(np.count_nonzero(lengths > k)) for k in SUPPORT_SIZES]
    sizes = [k for k, users in zip(SUPPORT_SIZES, enough) if users >= _LEAST_USERS]
    shared = [k for k, users in zip(SUPPORT_SIZES, enough) if users >= max(_LEAST_USERS, len(lengths) / 2)]
    return sizes or [SUPPORT_SIZES[0]], shared[-1] if shared else SUPPORT_SIZES[0]


def _sample(usable: NDArray[np.bool_], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    rows = np.flatnonzero(usable)
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def _of(rows: NDArray[np.int64], drawn: Episodes) -> Episodes:
    """Episodes drawn from some rows of a batch, with users counted in the whole batch."""
    return Episodes(drawn.support, drawn.query, rows[drawn.users].astype(np.int32))


def _joined(parts: list[Episodes]) -> Episodes | None:
    parts = [part for part in parts if len(part)]
    if not parts:
        return None
    return Episodes(
        Histories.concatenate([part.support for part in parts]),
        Histories.concatenate([part.query for part in parts]),
        np.concatenate([part.users for part in parts]),
    )
