"""Episodes: known answers, and what must hold for any histories."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarec_sdk.data import episodes, first_visits
from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import Histories

rows = st.lists(st.lists(st.integers(0, 8), max_size=12), max_size=6)


def as_lists(histories: Histories) -> list[list[int]]:
    return [row.tolist() for row in histories]


def test_known_answer() -> None:
    cut = episodes(Histories.from_lists([[5, 3, 5, 7, 8], [1], [2, 2, 4]]), 1, 2)
    assert cut.users.tolist() == [0, 2]
    assert as_lists(cut.support) == [[5], [2]]
    assert as_lists(cut.query) == [[3, 7], [4]]
    kept = episodes(Histories.from_lists([[5, 3, 5, 7, 8], [1], [2, 2, 4]]), 2, 2, repeats="keep")
    assert as_lists(kept.support) == [[5, 3], [2, 2]]
    assert as_lists(kept.query) == [[5, 7], [4]]


def test_k_of_each_row_and_no_support() -> None:
    histories = Histories.from_lists([[0, 1, 2], [3, 4, 5], [6]])
    cut = episodes(histories, np.array([0, 2, 1]), 10)
    assert as_lists(cut.support) == [[], [3, 4]]
    assert as_lists(cut.query) == [[0, 1, 2], [5]]


@settings(deadline=None, max_examples=40)
@given(rows, st.integers(0, 4), st.integers(1, 4), st.sampled_from(["time", "random"]))
def test_support_and_query_are_neighbours(data: list[list[int]], k: int, n_query: int, order: str) -> None:
    histories = Histories.from_lists(data)
    cut = episodes(histories, k, n_query, order=order, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    unique = as_lists(first_visits(histories))
    assert unique == [list(dict.fromkeys(row)) for row in data]
    assert cut.users.tolist() == [i for i, row in enumerate(unique) if len(row) > k]
    for user, support, query in zip(cut.users, cut.support, cut.query):
        taken = [*support, *query]
        assert len(support) == k
        assert len(query) == min(n_query, len(unique[user]) - k)
        assert len(set(taken)) == len(taken)
        assert set(taken) <= set(unique[user])
        if order == "time":
            assert taken == unique[user][: len(taken)]
    times = cut.query.timestamps
    inside = np.ones(max(len(times) - 1, 0), bool)
    inside[cut.query.offsets[1:-1] - 1] = False  # steps between rows may go down
    assert (np.diff(times)[inside] >= 0).all()


@settings(deadline=None, max_examples=40)
@given(rows)
def test_same_users_at_every_k(data: list[list[int]]) -> None:
    histories = Histories.from_lists(data)
    users = [episodes(histories, k, 3, min_events=6).users.tolist() for k in range(4)]
    assert users == [users[0]] * 4


def test_random_order_is_reproducible_and_keeps_pairs() -> None:
    base = Histories.from_lists([list(range(30)), list(range(30, 50))])
    histories = Histories(base.items, base.offsets, base.items.astype(np.float32), base.timestamps)
    one, two, other = (
        episodes(histories, 5, order="random", rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one.support.items.tolist() == two.support.items.tolist()
    assert one.support.items.tolist() != other.support.items.tolist()
    assert (one.support.weights == one.support.items).all()
    assert (one.support.timestamps == np.tile(np.arange(5), 2)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": -1}, "k must be"),
        ({"k": 1.5}, "k must be"),
        ({"k": np.array([1, 2, 3])}, "k must be"),
        ({"k": 1, "n_query": 0}, "n_query"),
        ({"k": 1, "order": "random"}, "rng"),
        ({"k": 1, "order": "reverse"}, "order"),
        ({"k": 1, "repeats": "merge"}, "repeats"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        episodes(Histories.from_lists([[1, 2], [3]]), **arguments)  # type: ignore[arg-type]
