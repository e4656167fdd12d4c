"""Versions of an index: the same lists as an index built anew, and old versions stay as they were."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarec_sdk.errors import ArgumentError
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import TopK

PLANES = ["bf16", "int8", "int4"]


def same(a: TopK, b: TopK) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("offsets", "items", "scores"))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(0, 200), steps=st.integers(1, 7), biased=st.booleans())
def test_any_history_ranks_like_an_index_built_anew(seed: int, n: int, steps: int, biased: bool) -> None:
    rng = np.random.default_rng(seed)
    d, tasks = 6, 2

    def rows(count: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        values = rng.integers(-3, 4, (count, d)).astype(np.float32)
        if not biased:
            return values, None, None
        more = rng.standard_normal((tasks + 1, count)).astype(np.float32)
        return values, more[0].copy(), more[1:].copy()

    matrix, bias, task_bias = rows(n)
    index = ItemIndex(matrix, bias, task_bias, planes=PLANES)
    queries = rng.integers(-3, 4, (5, d)).astype(np.float32)
    call: dict[str, Any] = {"tasks": np.array([0, 1, -1, 0, 1])} if biased else {}
    for _ in range(steps):
        before, old = index, index.topk(queries, 9, **call)
        if len(matrix) and rng.random() < 0.5:
            count = int(rng.integers(1, min(len(matrix), 40) + 1))
            items = np.sort(rng.choice(len(matrix), count, replace=False))
            new = rows(count)
            index = index.replace(items, *new)
            matrix = matrix.copy()
            matrix[items] = new[0]
            if biased:
                bias, task_bias = bias.copy(), task_bias.copy()
                bias[items], task_bias[:, items] = new[1], new[2]
        else:
            new = rows(int(rng.integers(0, 90)))
            index = index.append(*new)
            matrix = np.concatenate([matrix, new[0]])
            if biased:
                bias, task_bias = np.append(bias, new[1]), np.concatenate([task_bias, new[2]], axis=1)
        assert same(before.topk(queries, 9, **call), old)
        anew = ItemIndex(matrix, bias, task_bias, planes=PLANES)
        assert len(index) == len(matrix)
        for path in ("fp32", *index.planes):
            assert same(index.topk(queries, 9, path=path, **call), anew.topk(queries, 9, path=path, **call))
        pairs = (np.arange(6) * len(matrix), np.tile(np.arange(len(matrix)), 5))
        assert np.array_equal(index.scores_at(queries, pairs), anew.scores_at(queries, pairs))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index.append(np.ones((2, 3))), "rows have 3 columns, expected 4"),
        (lambda index: index.append([[np.nan] * 4], [0.0]), "matrix holds NaN at row 0"),
        (lambda index: index.append(np.ones((1, 4))), "bias has 0 values, expected 1 values"),
        (lambda index: index.append(np.ones((1, 4)), [1.0, 2.0]), "bias has 2 values, expected 1 values"),
        (
            lambda index: index.replace([5], np.ones((1, 4)), [0.0]),
            "items must be from 0 to below 5, got 5 to 5",
        ),
        (lambda index: index.replace([3, 1], np.ones((2, 4)), [0.0, 0.0]), "items is 1 after 3"),
        (lambda index: index.replace([1, 1], np.ones((2, 4)), [0.0, 0.0]), "items is 1 after 1"),
        (lambda index: index.replace([1], np.ones((2, 4)), [0.0, 0.0]), "rows has 2 rows, expected 1"),
    ],
)
def test_refusals_name_the_argument_and_change_nothing(change: Any, message: str) -> None:
    index = ItemIndex(np.eye(5, 4), np.zeros(5))
    before = index.topk(np.eye(4), 5)
    with pytest.raises(ArgumentError) as raised:
        change(index)
    assert message in str(raised.value)
    assert same(index.topk(np.eye(4), 5), before)


def test_many_small_additions_stay_cheap() -> None:
    """Merging keeps what lies beside the matrix in proportion to what was added."""
    rng = np.random.default_rng(0)
    index = ItemIndex(rng.standard_normal((3000, 16)).astype(np.float32))
    start = index.nbytes
    for _ in range(300):
        index = index.append(rng.standard_normal((1, 16)).astype(np.float32))
    assert len(index) == 3300
    assert index.nbytes - start < 3 * 300 * 16 * 4


def test_readers_see_whole_versions_while_one_is_published() -> None:
    rng = np.random.default_rng(1)
    parts = [rng.standard_normal((300, 8)).astype(np.float32) for _ in range(12)]
    queries = rng.standard_normal((40, 8)).astype(np.float32)
    expected = {
        300 * count: ItemIndex(np.concatenate(parts[:count])).topk(queries, 7) for count in range(1, 13)
    }
    current = [ItemIndex(parts[0])]
    done = threading.Event()

    def read() -> int:
        answers = 0
        while not done.is_set() or not answers:
            index = current[0]
            assert same(index.topk(queries, 7), expected[len(index)])
            answers += 1
        return answers

    with ThreadPoolExecutor(4) as executor:
        readers = [executor.submit(read) for _ in range(4)]
        for part in parts[1:]:
            current[0] = current[0].append(part)
        done.set()
        assert all(reader.result() for reader in readers)
