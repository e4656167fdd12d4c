"""The four forms of popularity on logs whose answer can be read off."""

from __future__ import annotations

import numpy as np

from metarec_sdk.evaluation.baselines.baseline import Situation
from metarec_sdk.evaluation.baselines.episode_popularity import EpisodePopularity
from metarec_sdk.evaluation.baselines.first_events import FirstEvents
from metarec_sdk.evaluation.baselines.popularity import Popularity
from metarec_sdk.evaluation.baselines.recent_popularity import DAY, RECENT_POPULARITY, RecentPopularity
from metarec_sdk.types import Histories, TopK, TrainingLog

RNG = np.random.default_rng(0)
NOBODY = Histories.from_lists([[]])


def log_of(rows: list[list[int]], n_items: int, days: list[list[float]] | None = None) -> TrainingLog:
    histories = Histories.from_lists(rows)
    if days is not None:
        times = np.array([int(day * DAY) for row in days for day in row], np.int64)
        histories = Histories(histories.items, histories.offsets, histories.weights, times)
    return TrainingLog(histories, n_items)


def rows_of(lists: TopK) -> list[list[int]]:
    return [lists.items[a:b].tolist() for a, b in zip(lists.offsets[:-1], lists.offsets[1:])]


def test_popularity_counts_users_and_leaves_the_history_out() -> None:
    baseline = Popularity()
    baseline.fit(log_of([[2, 1], [2, 0], [2, 1, 3]], 5), RNG)
    assert rows_of(baseline.rank(NOBODY, 5)) == [[2, 1, 0, 3, 4]]
    assert rows_of(baseline.rank(Histories.from_lists([[2], [1, 0]]), 2)) == [[1, 0], [2, 3]]


def test_recent_popularity_looks_at_the_last_days_then_at_all_time() -> None:
    log = log_of([[0, 1], [0, 2], [0, 1]], 4, [[0, 1], [0, 9.5], [0, 2]])
    baseline = RecentPopularity(days=1)
    baseline.fit(log, RNG)
    # Item 2 alone is recent; the others follow by all-time popularity.
    assert rows_of(baseline.rank(NOBODY, 4)) == [[2, 0, 1, 3]]
    whole = RecentPopularity(days=365)
    whole.fit(log, RNG)
    assert rows_of(whole.rank(NOBODY, 4)) == [[0, 1, 2, 3]]


def test_recent_popularity_needs_times() -> None:
    assert RECENT_POPULARITY.refusal(Situation(10, has_time=False)) == "the log has no times"
    assert RECENT_POPULARITY.refusal(Situation(10, has_time=True)) is None


def test_first_events_looks_at_beginnings() -> None:
    baseline = FirstEvents(first=1)
    baseline.fit(log_of([[3, 0, 1], [3, 0, 1], [2, 0, 1]], 4), RNG)
    assert rows_of(baseline.rank(NOBODY, 4)) == [[3, 2, 0, 1]]


def test_episode_popularity_depends_on_the_length_of_the_history() -> None:
    baseline = EpisodePopularity(width=1)
    baseline.fit(log_of([[0, 1, 2], [0, 1, 3], [4, 1, 3]], 5), RNG)
    lists = baseline.rank(Histories.from_lists([[], [4], [0, 4], [0, 1, 4, 2]]), 2)
    # Position 0 has item 0 twice, position 1 has item 1, position 2 has item 3 twice.
    assert rows_of(lists)[:3] == [[0, 4], [1, 0], [3, 2]]
    # A history longer than any in training: the last position's counts are empty, popularity orders.
    assert rows_of(lists)[3] == [3]


def test_episode_popularity_gives_each_row_its_own_length_in_one_batch() -> None:
    rng = np.random.default_rng(1)
    baseline = EpisodePopularity(width=3)
    baseline.fit(log_of([rng.permutation(20)[:12].tolist() for _ in range(30)], 20), RNG)
    histories = Histories.from_lists([rng.permutation(20)[:size].tolist() for size in (0, 5, 2, 9, 5)])
    together = rows_of(baseline.rank(histories, 6))
    alone = [rows_of(baseline.rank(histories.take(slice(row, row + 1)), 6))[0] for row in range(5)]
    assert together == alone
