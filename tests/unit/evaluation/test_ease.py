"""EASE against the formula written out with numpy's inverse."""

from __future__ import annotations

import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.baselines import boosted
from metarec_sdk.evaluation.baselines.ease import EASE, MOST_ITEMS, Ease
from metarec_sdk.types import Histories, TrainingLog


def random_log(n_users: int, n_items: int) -> TrainingLog:
    rng = np.random.default_rng(2)
    rows = [rng.permutation(n_items)[: rng.integers(2, 9)].tolist() for _ in range(n_users)]
    return TrainingLog(Histories.from_lists(rows), n_items)


@pytest.mark.parametrize("n_items", [12, 600])
def test_scores_are_those_of_the_closed_form(n_items: int) -> None:
    log = random_log(80, n_items)
    visits = np.zeros((80, n_items))
    for row, items in enumerate(log.histories):
        visits[row, items] = 1.0
    precision = np.linalg.inv(visits.T @ visits + 3.0 * np.eye(n_items))
    weights = -precision / np.diag(precision)
    np.fill_diagonal(weights, 0.0)

    baseline = Ease(regularization=3.0)
    baseline.fit(log, np.random.default_rng(0))
    histories = log.histories.take(slice(0, 20))
    expected = visits[:20] @ weights
    lists = baseline.rank(histories, 8)
    for row in range(20):
        span = slice(lists.offsets[row], lists.offsets[row + 1])
        items, scores = lists.items[span], lists.scores[span]
        np.testing.assert_allclose(scores, expected[row, items], atol=3e-6)
        unseen = np.setdiff1d(
            np.arange(n_items), log.histories.items[histories.offsets[row] :][: histories.lengths[row]]
        )
        best = np.sort(expected[row, unseen])[::-1][: len(items)]
        np.testing.assert_allclose(scores, best, atol=3e-6)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    log = random_log(40, 30)
    baseline = Ease(regularization=1.0)
    baseline.fit(log, np.random.default_rng(0))
    whole = baseline.rank(log.histories, 5)
    monkeypatch.setattr(boosted, "_CELLS", 100)
    parts = baseline.rank(log.histories, 5)
    assert whole.items.tolist() == parts.items.tolist()
    assert whole.offsets.tolist() == parts.offsets.tolist()
    assert len(baseline.rank(Histories.from_lists([]), 5)) == 0


def test_without_support_popularity_orders() -> None:
    log = TrainingLog(Histories.from_lists([[2, 1], [2, 0], [2, 1]]), 4)
    baseline = Ease(regularization=1.0)
    baseline.fit(log, np.random.default_rng(0))
    assert baseline.rank(Histories.from_lists([[]]), 4).items.tolist() == [2, 1, 0, 3]


def test_a_catalogue_too_large_is_refused_before_memory_is_taken() -> None:
    log = TrainingLog(Histories.from_lists([[0]]), MOST_ITEMS + 1)
    with pytest.raises(ArgumentError, match=r"20001 items need a dense inverse of 3\.2 GB"):
        Ease(regularization=1.0).fit(log, np.random.default_rng(0))
    assert all(settings["regularization"] > 0 for settings in EASE.grid)
