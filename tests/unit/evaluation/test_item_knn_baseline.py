"""Neighbours of the support, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from metarec_sdk.evaluation.baselines.item_knn import ItemNeighbours
from metarec_sdk.types import Histories, TopK, TrainingLog

RNG = np.random.default_rng(0)
LOG = TrainingLog(Histories.from_lists([[0, 1], [0, 1], [2, 1], [2, 3], [4, 2]]), 6)
"""Items 0 and 1 twice together, 1 and 2, 2 and 3, 2 and 4 once; item 5 never."""


def row(lists: TopK, index: int = 0) -> tuple[list[int], list[float]]:
    span = slice(lists.offsets[index], lists.offsets[index + 1])
    return lists.items[span].tolist(), lists.scores[span].tolist()


def test_symmetric_scores_are_shrunk_cosines() -> None:
    baseline = ItemNeighbours(neighbours=10, shrinkage=1.0)
    baseline.fit(LOG, RNG)
    items, scores = row(baseline.rank(Histories.from_lists([[1]]), 6))
    # c_1 = 3, c_0 = 2, c_2 = 3: K_10 = 2 / (√6 + 1), K_12 = 1 / (√9 + 1); the rest by popularity.
    assert items == [0, 2, 3, 4, 5]
    np.testing.assert_allclose(scores[:2], [2 / (np.sqrt(6) + 1), 1 / 4], atol=3e-6)
    assert max(scores[2:]) < 1e-5


def test_a_longer_support_adds_up() -> None:
    baseline = ItemNeighbours(neighbours=10, shrinkage=0.0)
    baseline.fit(LOG, RNG)
    items, scores = row(baseline.rank(Histories.from_lists([[3, 1]]), 2))
    assert items == [2, 0]
    np.testing.assert_allclose(scores, [1 / np.sqrt(3) + 1 / 3, 2 / np.sqrt(6)], atol=3e-6)


def test_directed_follows_the_order() -> None:
    baseline = ItemNeighbours(neighbours=10, shrinkage=0.0, directed=True, window=1)
    baseline.fit(LOG, RNG)
    lists = baseline.rank(Histories.from_lists([[2], [3]]), 6)
    items, scores = row(lists, 0)
    # After item 2 came 3 and 1; item 4 only came before it.
    assert items[:2] == [3, 1]
    assert scores[2] < 1e-5
    # Nothing came after item 3: popularity.
    assert row(lists, 1)[0] == [1, 2, 0, 4, 5]


def test_only_the_last_events_speak_but_all_are_left_out() -> None:
    settings = {"neighbours": 10, "shrinkage": 0.0}
    whole, recent = ItemNeighbours(**settings), ItemNeighbours(**settings, last=1)
    for baseline in (whole, recent):
        baseline.fit(LOG, RNG)
    long, short = Histories.from_lists([[0, 3]]), Histories.from_lists([[3]])
    assert row(recent.rank(long, 1)) == row(whole.rank(short, 1))
    assert 0 not in row(recent.rank(long, 6))[0]


@pytest.mark.parametrize("directed", [False, True])
def test_without_support_popularity_orders(directed: bool) -> None:
    baseline = ItemNeighbours(neighbours=10, shrinkage=0.0, directed=directed)
    baseline.fit(LOG, RNG)
    assert row(baseline.rank(Histories.from_lists([[]]), 6))[0] == [1, 2, 0, 3, 4, 5]
