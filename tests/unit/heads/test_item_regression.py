"""EASE's table against its definition."""

from dataclasses import replace

import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError
from metarec_sdk.heads import item_knn
from metarec_sdk.heads.item_knn import ItemKNN
from metarec_sdk.heads.item_regression import regression_table, regression_weights
from metarec_sdk.types import Histories, TrainingLog


@pytest.fixture
def log() -> TrainingLog:
    rng = np.random.default_rng(0)
    rows = [rng.choice(40, rng.integers(1, 12), replace=False).tolist() for _ in range(200)]
    return TrainingLog(Histories.from_lists(rows), 40)


def visits(log: TrainingLog) -> np.ndarray:
    x = np.zeros((len(log.histories), log.n_items))
    for row, items in zip(x, log.histories):
        row[items] = 1.0
    return x


def test_weights_solve_the_constrained_least_squares(log):
    """Column i regresses item i on all others: least squares with the diagonal forbidden, item by item."""
    x, regularization = visits(log), 7.0
    found = regression_weights(log.histories, log.n_items, regularization)
    for item in range(log.n_items):
        others = np.delete(np.arange(log.n_items), item)
        gram = x[:, others].T @ x[:, others] + regularization * np.eye(len(others))
        expected = np.linalg.solve(gram, x[:, others].T @ x[:, item])
        np.testing.assert_allclose(found[others, item], expected, atol=1e-5)
    assert not np.diag(found).any()


@pytest.mark.parametrize("most", [3, 1000])
def test_the_table_keeps_the_largest_positive_weights(log, most):
    weights = regression_weights(log.histories, log.n_items, 7.0)
    offsets, items, values = regression_table(log.histories, log.n_items, 7.0, most)
    for row in range(log.n_items):
        kept = items[offsets[row] : offsets[row + 1]]
        best = np.argsort(-weights[row], kind="stable")[:most]
        expected = [item for item in best if weights[row, item] > 0]
        assert kept.tolist() == sorted(expected)
        assert (values[offsets[row] : offsets[row + 1]] == weights[row, kept]).all()


def test_a_second_visit_changes_nothing(log):
    again = Histories.from_lists([[*row, *row[:1]] for row in map(list, log.histories)])
    for one, other in zip(
        regression_table(log.histories, 40, 7.0, 5), regression_table(again, 40, 7.0, 5), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_the_member_speaks_by_the_table(log):
    member = ItemKNN(regression=True, regularization=7.0)
    member.fit(log, np.random.default_rng(0))
    for one, other in zip(member.table(), regression_table(log.histories, 40, 7.0, 100), strict=True):
        np.testing.assert_array_equal(one, other)
    offsets, items, _ = member.boosts(Histories.from_lists([[3], []]))
    assert items[: offsets[1]].tolist() == member.table()[1][slice(*member.table()[0][3:5])].tolist()
    assert offsets.tolist() == [0, offsets[1], offsets[1]]


def test_what_cannot_be_regressed_is_refused(log, monkeypatch):
    monkeypatch.setattr(item_knn, "MOST_REGRESSED", 39)
    with pytest.raises(ArgumentError, match=r"40 items takes .* the bound is 39"):
        ItemKNN(regression=True).fit(log, np.random.default_rng(0))
    with pytest.raises(ArgumentError, match="no direction"):
        ItemKNN(regression=True, directed=True)
    with pytest.raises(ArgumentError, match="too small"):
        regression_weights(Histories.from_lists([[0, 1]]), 2, 1e-300)


def test_content_counts_like_more_people(log):
    """Indicators of three genres are what three people who took one whole genre each would add."""
    genres = np.eye(3, dtype=np.float32)[np.arange(40) % 3]
    found = regression_weights(log.histories, 40, 7.0, genres)
    people = [*map(list, log.histories), *(np.flatnonzero(genre).tolist() for genre in genres.T)]
    expected = regression_weights(Histories.from_lists(people), 40, 7.0)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_unlike_contents_take_nobody_away(log):
    opposite = np.where(np.arange(40) % 2, 1.0, -1.0).astype(np.float32)[:, None]
    even = np.stack([np.arange(40) % 2 == 0, np.arange(40) % 2 == 1], 1).astype(np.float32)
    np.testing.assert_allclose(
        regression_weights(log.histories, 40, 7.0, opposite),
        regression_weights(log.histories, 40, 7.0, even),
        atol=1e-6,
    )


def test_the_member_weighs_contents_by_their_cosine(log):
    features = np.random.default_rng(1).standard_normal((40, 5)).astype(np.float32)
    features[4] = 0.0
    member = ItemKNN(regression=True, content=True, content_people=3.0, regularization=7.0)
    member.fit(replace(log, item_features=5.0 * features), np.random.default_rng(0))
    length = np.linalg.norm(features, axis=1, keepdims=True)
    alike = (features / np.where(length > 0, length, 1.0) * np.sqrt(3.0)).astype(np.float32)
    for one, other in zip(member.table(), regression_table(log.histories, 40, 7.0, 100, alike), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_contents_that_are_not_there_are_refused(log):
    with pytest.raises(ArgumentError, match="items="):
        ItemKNN(regression=True, content=True).fit(log, np.random.default_rng(0))
    with pytest.raises(ArgumentError, match="regression=True"):
        ItemKNN(content=True)
