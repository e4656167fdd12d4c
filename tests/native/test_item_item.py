"""Item neighbours and boosts against plain loops, and on data whose answer is known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarec_sdk import _core
from metarec_sdk.types import Histories

N = 8
histories_of_few = st.lists(st.lists(st.integers(0, N - 1), max_size=12), max_size=8)


def dense(table: tuple[np.ndarray, np.ndarray, np.ndarray], columns: int = N) -> np.ndarray:
    offsets, items, values = table
    out = np.zeros((len(offsets) - 1, columns))
    out[np.repeat(np.arange(len(out)), np.diff(offsets)), items] = values
    return out


def symmetric(rows: list[list[int]], shrinkage: float) -> np.ndarray:
    seen = np.zeros((len(rows), N))
    for user, row in enumerate(rows):
        seen[user, row] = 1
    users = seen.sum(0)
    size = np.sqrt(np.outer(users, users)) + shrinkage
    out = np.divide(seen.T @ seen, size, where=size > 0, out=np.zeros((N, N)))
    np.fill_diagonal(out, 0)
    return out


def directed(rows: list[list[int]], shrinkage: float, window: int) -> np.ndarray:
    pairs = Counter(
        (row[first], row[second])
        for row in rows
        for first in range(len(row))
        for second in range(first + 1, min(len(row), first + 1 + window))
    )
    events = Counter(item for row in rows for item in row)
    out = np.zeros((N, N))
    for (i, j), count in pairs.items():
        if i != j:
            out[i, j] = count / (np.sqrt(events[i] * events[j]) + shrinkage)
    return out


@given(histories_of_few, st.sampled_from([0.0, 1.0, 10.0]), st.sampled_from([None, 1, 3, 100]))
@settings(max_examples=80, deadline=None)
def test_neighbours_match_plain_loops(rows: list[list[int]], shrinkage: float, window: int | None) -> None:
    histories = Histories.from_lists(rows)
    got = _core.item_knn(histories.offsets, histories.items, N, N, shrinkage, window)
    want = symmetric(rows, shrinkage) if window is None else directed(rows, shrinkage, window)
    np.testing.assert_allclose(dense(got), want, atol=1e-6)
    assert all((np.diff(got[1][a:b]) > 0).all() for a, b in zip(got[0][:-1], got[0][1:]))


@given(histories_of_few, st.integers(1, N), st.sampled_from([None, 2]))
@settings(max_examples=60, deadline=None)
def test_keeps_the_largest_and_of_equals_the_first(
    rows: list[list[int]], neighbours: int, window: int | None
) -> None:
    histories = Histories.from_lists(rows)
    arguments = histories.offsets, histories.items, N
    every = dense(_core.item_knn(*arguments, N, 1.0, window))
    got = dense(_core.item_knn(*arguments, neighbours, 1.0, window))
    for row in range(N):
        order = np.lexsort((np.arange(N), -every[row]))[:neighbours]
        kept = np.zeros(N)
        kept[order] = every[row, order]
        assert (got[row] == kept).all()


@given(histories_of_few, histories_of_few, st.booleans())
@settings(max_examples=60, deadline=None)
def test_boosts_are_weighted_sums_of_rows(
    training: list[list[int]], rows: list[list[int]], root: bool
) -> None:
    source, histories = Histories.from_lists(training), Histories.from_lists(rows)
    table = _core.item_knn(source.offsets, source.items, N, N, 1.0)
    weights = np.random.default_rng(0).uniform(0, 2, len(histories.items)).astype(np.float32)
    got = _core.ItemNeighbours(*table).boosts(histories.offsets, histories.items, weights, root)
    want = np.zeros((len(rows), N))
    np.add.at(
        want,
        np.repeat(np.arange(len(rows)), histories.lengths),
        weights[:, None] * dense(table)[histories.items],
    )
    if root:
        total = want.sum(1, keepdims=True)
        want = np.sqrt(np.divide(want, total, where=total > 0, out=np.zeros_like(want)))
    np.testing.assert_allclose(dense(got), want, atol=1e-5)
    assert (got[2] > 0).all()
    assert all((np.diff(got[1][a:b]) > 0).all() for a, b in zip(got[0][:-1], got[0][1:]))


def test_a_short_history_in_a_large_catalogue_sums_as_a_long_one_does() -> None:
    rng = np.random.default_rng(0)
    source = Histories.from_lists([list(rng.integers(0, 3000, 30)) for _ in range(200)])
    table = _core.item_knn(source.offsets, source.items, 3000, 50, 1.0)
    rows = [list(rng.integers(0, 3000, k)) for k in (1, 3, 8, 400)]
    histories = Histories.from_lists(rows)
    neighbours = _core.ItemNeighbours(*table)
    got = dense(neighbours.boosts(histories.offsets, histories.items, histories.weights), 3000)
    full = dense(table, 3000)
    for row, items in enumerate(rows):
        np.testing.assert_allclose(got[row], full[items].sum(0), atol=1e-4)


def test_an_item_is_not_its_own_neighbour_and_nobody_is_nobodys() -> None:
    histories = Histories.from_lists([[3, 3, 3], []])
    for window in (None, 2):
        offsets, items, values = _core.item_knn(histories.offsets, histories.items, N, 5, 0.0, window)
        assert offsets.tolist() == [0] * (N + 1)
        assert len(items) == len(values) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neighbours": 0}, "neighbours is 0"),
        ({"window": 0}, "window is 0"),
        ({"shrinkage": -1.0}, "shrinkage is -1"),
        ({"shrinkage": float("nan")}, "shrinkage is NaN"),
        ({"n_items": 3}, "item 3 at position 1"),
    ],
)
def test_neighbours_name_the_bad_argument(change: dict, message: str) -> None:
    arguments = {"n_items": 4, "neighbours": 2, "shrinkage": 1.0, "window": None, **change}
    histories = Histories.from_lists([[0, 3]])
    with pytest.raises(ValueError, match=message):
        _core.item_knn(histories.offsets, histories.items, **arguments)


def test_a_table_names_the_bad_argument() -> None:
    table = np.array([0, 1, 2], np.int64), np.array([1, 0], np.int32)
    for values, message in [
        (np.array([1, -1], np.float32), "neighbour_values is -1 at position 1"),
        (np.array([1, np.nan], np.float32), "neighbour_values holds NaN"),
        (np.ones(1, np.float32), "neighbour_values has 1 values"),
    ]:
        with pytest.raises(ValueError, match=message):
            _core.ItemNeighbours(*table, values)
    with pytest.raises(ValueError, match="neighbour_items is item 2"):
        _core.ItemNeighbours(table[0], np.array([1, 2], np.int32), np.ones(2, np.float32))
    neighbours = _core.ItemNeighbours(*table, np.ones(2, np.float32))
    histories = Histories.from_lists([[0, 2]])
    with pytest.raises(ValueError, match="histories is item 2"):
        neighbours.boosts(histories.offsets, histories.items, histories.weights)
