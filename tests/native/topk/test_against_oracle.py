"""Ids and score bits of random calls against the NumPy oracle; scores against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import TopK


def flat(rows: list[list[Any]], dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return offsets, np.array([value for row in rows for value in row], dtype)


def assert_same(found: TopK, expected: TopK) -> None:
    assert found.offsets.tolist() == expected.offsets.tolist()
    assert found.items.tolist() == expected.items.tolist()
    assert np.array_equal(found.scores.view(np.int32), (expected.scores + np.float32(0)).view(np.int32))


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    n, d, b = draw(st.integers(0, 90)), draw(st.integers(0, 9)), draw(st.integers(0, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if draw(st.booleans()):  # few values, many ties

        def numbers(*shape: int) -> np.ndarray:
            return rng.integers(-2, 3, shape).astype(np.float32)
    else:

        def numbers(*shape: int) -> np.ndarray:
            return (rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 6)).astype(np.float32)

    def rows() -> list[list[int]]:
        return [rng.integers(0, n, rng.integers(0, 12) if n else 0).tolist() for _ in range(b)]

    call: dict[str, Any] = {"matrix": numbers(n, d), "queries": numbers(b, d), "k": draw(st.integers(0, 100))}
    call["bias"] = numbers(n) if draw(st.booleans()) else None
    call["exclude"] = rows() if draw(st.booleans()) else None
    call["allow"] = (
        rng.random(n) < draw(st.sampled_from([0, 0.05, 0.3, 0.9])) if draw(st.booleans()) else None
    )
    call["deny"] = rng.random(n) < draw(st.sampled_from([0.1, 0.9, 1])) if draw(st.booleans()) else None
    call["boosts"] = (
        [[(item, float(numbers(1)[0])) for item in row] for row in rows()] if draw(st.booleans()) else None
    )
    if draw(st.booleans()):
        call["task_bias"], call["tasks"] = numbers(3, n), rng.integers(-1, 3, b)
    if draw(st.booleans()):
        call["bias"], call["index_bias"] = numbers(n), call["bias"]
    else:
        call["bias"], call["index_bias"] = None, call["bias"]
    return call


@settings(max_examples=200, deadline=None)
@given(call=calls())
def test_same_ids_and_bits_as_the_oracle(oracle: Any, call: dict[str, Any]) -> None:
    matrix, queries, k = (call.pop(name) for name in ("matrix", "queries", "k"))
    biases = (call.pop("index_bias"), call.pop("task_bias", None))
    expected = oracle(matrix, *biases).topk(queries, k, **call)
    if call["exclude"] is not None:
        call["exclude"] = flat(call["exclude"], np.int32)
    if call["boosts"] is not None:
        offsets, pairs = flat(call["boosts"], np.dtype([("item", np.int32), ("added", np.float32)]))
        call["boosts"] = (offsets, pairs["item"], pairs["added"])
    index = ItemIndex(matrix, *biases, planes=["bf16", "int8", "int4"])
    for path in ("fp32", *index.planes):
        assert_same(index.topk(queries, k, path=path, **call), expected)


@pytest.mark.parametrize(("n", "d", "b", "k"), [(2000, 64, 9, 10), (700, 100, 40, 100), (5000, 33, 1, 1)])
def test_close_to_float64(n: int, d: int, b: int, k: int) -> None:
    rng = np.random.default_rng(n)
    matrix = rng.standard_normal((n, d)).astype(np.float32)
    queries = rng.standard_normal((b, d)).astype(np.float32)
    found = ItemIndex(matrix).topk(queries, k)
    exact = queries.astype(np.float64) @ matrix.astype(np.float64).T
    items, scores = found.padded(k)
    np.testing.assert_allclose(scores, np.take_along_axis(exact, items, axis=1), rtol=0, atol=1e-4)
    best = -np.sort(-exact, axis=1)[:, :k]
    np.testing.assert_allclose(scores, best, rtol=0, atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 80), b=st.integers(1, 12))
def test_scores_at_gives_the_bits_of_topk(seed: int, n: int, b: int) -> None:
    rng = np.random.default_rng(seed)
    index = ItemIndex(rng.standard_normal((n, 7)), rng.standard_normal(n))
    queries = rng.standard_normal((b, 7)).astype(np.float32)
    lists = index.topk(queries, n)
    order = rng.permutation(n)  # any order within a row
    items = lists.items.reshape(b, n)[:, order].ravel()
    scores = index.scores_at(queries, (lists.offsets, items))
    assert np.array_equal(scores, lists.scores.reshape(b, n)[:, order].ravel())


def test_a_wrong_oracle_is_noticed(oracle: Any) -> None:
    """The comparison can fail: a change of one last bit, or of one tie, is seen."""
    matrix = np.array([[1.0], [1.0], [0.5]], np.float32)
    queries = np.ones((1, 1), np.float32)
    found = ItemIndex(matrix).topk(queries, 2)
    nudged = matrix.copy()
    nudged[0, 0] = np.nextafter(np.float32(1), np.float32(2))
    with pytest.raises(AssertionError):
        assert_same(found, oracle(nudged).topk(queries, 2))
    with pytest.raises(AssertionError):
        assert_same(TopK(found.offsets, found.items[::-1], found.scores), oracle(matrix).topk(queries, 2))
