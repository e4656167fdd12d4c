"""What must hold for any data: permutations, prefixes, independence of the batch and of filter paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metarec_sdk.types import Histories, TopK


def data(n: int = 600, d: int = 20, b: int = 25, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)).astype(np.float32), rng.standard_normal((b, d)).astype(np.float32)


def same(a: TopK, b: TopK) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("offsets", "items", "scores"))


def test_a_short_list_is_the_start_of_a_long_one(ranked: Any) -> None:
    matrix, queries = data()
    index = ranked(matrix)
    whole, _ = index.topk(queries, 600).padded(600)
    for k in (1, 2, 23, 24, 25, 60, 599):
        assert np.array_equal(index.topk(queries, k).padded(k)[0], whole[:, :k]), k


def test_renumbering_items_renumbers_lists(ranked: Any) -> None:
    matrix, queries = data()
    order = np.random.default_rng(1).permutation(len(matrix))
    plain = ranked(matrix).topk(queries, 30)
    shuffled = ranked(matrix[order]).topk(queries, 30)
    assert np.array_equal(order[shuffled.items], plain.items)
    assert np.array_equal(shuffled.scores, plain.scores)


@pytest.mark.parametrize("b", [1, 2, 3, 4, 5, 6, 7, 13])
def test_a_row_does_not_depend_on_its_batch(ranked: Any, b: int) -> None:
    matrix, queries = data()
    index = ranked(matrix)
    whole = index.topk(queries, 10).items.reshape(-1, 10)
    assert np.array_equal(index.topk(queries[:b], 10).items.reshape(-1, 10), whole[:b])


@pytest.mark.parametrize("b", [3, 40])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.7])
def test_allow_mask_allow_indices_deny_and_exclude_agree(ranked: Any, b: int, share: float) -> None:
    """A small share is gathered for b = 40 and masked for b = 3; all ways give the same bits."""
    matrix, queries = data(b=b)
    index = ranked(matrix)
    allowed = np.random.default_rng(2).random(len(matrix)) < share
    others = np.flatnonzero(~allowed)
    exclude = (np.arange(b + 1) * len(others), np.tile(others[::-1], b))
    by_mask = index.topk(queries, 15, allow=allowed)
    assert same(by_mask, index.topk(queries, 15, allow=np.flatnonzero(allowed)))
    assert same(by_mask, index.topk(queries, 15, deny=~allowed))
    assert same(by_mask, index.topk(queries, 15, exclude=exclude))
    assert np.isin(by_mask.items, np.flatnonzero(allowed)).all()


def test_ties_go_to_the_lowest_index(ranked: Any) -> None:
    index = ranked(np.ones((1000, 4), np.float32))
    for k in (1, 10, 100, 1000):
        lists = index.topk(np.ones((7, 4), np.float32), k)
        assert np.array_equal(lists.items.reshape(7, k), np.tile(np.arange(k), (7, 1)))


def test_negative_zero_ties_with_zero(ranked: Any) -> None:
    matrix = np.array([[-1e-30], [1e-30], [0.0]], np.float32)  # chains of -0, +0 and +0 for a tiny query
    lists = ranked(matrix, bias=[-0.0, 0.0, -0.0]).topk([[1e-30]], 3)
    assert lists.items.tolist() == [0, 1, 2]
    assert not np.signbit(lists.scores).any()


@pytest.mark.parametrize("b", [2, 30])
def test_lists_that_cannot_be_filled_are_short(ranked: Any, b: int) -> None:
    matrix, queries = data(n=20, b=b)
    index = ranked(matrix)
    assert index.topk(queries, 50).offsets.tolist() == list(range(0, 20 * b + 1, 20))
    assert len(index.topk(queries, 5, deny=np.ones(20, bool)).items) == 0
    assert len(index.topk(queries, 5, allow=np.array([], np.int64)).items) == 0
    assert index.topk(queries, 5, allow=[3, 7]).items.size == 2 * b
    seen_all = Histories.from_lists([list(range(20))] * b)
    assert len(index.topk(queries, 5, exclude=seen_all, boosts=_boost(b, 3, 99.0)).items) == 0


def test_empty_index_batch_and_width(ranked: Any) -> None:
    empty = ranked(np.empty((0, 3), np.float32))
    assert empty.topk(np.ones((4, 3)), 2).offsets.tolist() == [0, 0, 0, 0, 0]
    index = ranked(np.eye(3))
    assert index.topk(np.empty((0, 3)), 2).offsets.tolist() == [0]
    assert index.topk(np.eye(3), 0).offsets.tolist() == [0, 0, 0, 0]
    flat = ranked(np.empty((3, 0), np.float32), bias=[0, 2, 1])
    assert flat.topk(np.empty((1, 0)), 2).items.tolist() == [1, 2]


def test_boosts_lift_sink_and_never_readmit(ranked: Any) -> None:
    index = ranked(np.arange(40, dtype=np.float32)[:, None])
    one = np.ones((1, 1), np.float32)
    assert index.topk(one, 2, boosts=_boost(1, 5, 100.0)).items.tolist() == [5, 39]
    assert index.topk(one, 2, boosts=_boost(1, 39, -100.0)).items.tolist() == [38, 37]
    assert index.topk(one, 2, boosts=_boost(1, 5, 100.0), deny=[5]).items.tolist() == [39, 38]
    assert index.topk(one, 1, boosts=_boost(1, 5, 100.0), allow=[5, 6]).scores.tolist() == [105.0]


def test_task_bias_belongs_to_its_task(ranked: Any) -> None:
    bias = np.zeros((2, 20), np.float32)
    bias[0, 7], bias[1, 19] = 1.0, 2.0
    index = ranked(np.zeros((20, 1), np.float32), task_bias=bias)
    lists = index.topk(np.zeros((3, 1)), 1, tasks=[1, -1, 0])
    assert lists.items.tolist() == [19, 0, 7]


def test_a_call_may_bring_its_own_bias(ranked: Any) -> None:
    index = ranked(np.zeros((20, 1), np.float32), bias=np.arange(20, dtype=np.float32))
    assert index.topk(np.zeros((1, 1)), 2).items.tolist() == [19, 18]
    assert index.topk(np.zeros((1, 1)), 2, bias=-np.arange(20)).items.tolist() == [0, 1]


def _boost(b: int, item: int, added: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.arange(b + 1), np.full(b, item, np.int32), np.full(b, added, np.float32)
