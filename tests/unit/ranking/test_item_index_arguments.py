"""What the index takes, and what it refuses and how it says so."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError
from metarec_sdk.ranking import MAX_K, ItemIndex
from metarec_sdk.types import Histories

INDEX = ItemIndex(np.eye(4, dtype=np.float32))
QUERY = np.array([[4.0, 3.0, 2.0, 1.0]], np.float32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": -1}, f"k must be from 0 to {MAX_K}, got -1"),
        ({"k": MAX_K + 1}, f"k must be from 0 to {MAX_K}, got {MAX_K + 1}"),
        ({"k": 1.5}, "k must be a whole number, got 1.5"),
        ({"k": "3"}, "k must be a whole number, got '3'"),
        ({"queries": [1, 2, 3, 4]}, "queries must have 2 dimension(s), got shape (4,)"),
        ({"queries": [[1, 2, 3]]}, "queries have 3 columns, expected 4"),
        ({"queries": [["a"] * 4]}, "queries must hold float32 numbers, got dtype <U1"),
        ({"queries": [[1, 2, 3, np.nan]]}, "queries holds NaN at row 0"),
        ({"queries": [[1e300, 2, 3, 4]]}, "queries holds inf at row 0"),
        ({"queries": [[1], [1, 2]]}, "queries can't be read as an array"),
        ({"queries": [[3e38] * 4]}, "values whose scores stay within f32"),
        ({"exclude": [[1]]}, "exclude must be Histories or a tuple"),
        ({"exclude": ([0, 1], [4])}, "exclude is item 4 at position 0, expected items from 0 to below 4"),
        ({"exclude": ([0, 1], [-1])}, "exclude is item -1 at position 0"),
        ({"exclude": ([0, 1], [2**40])}, "exclude items must hold int32 numbers"),
        ({"exclude": ([0, 1], [0.5])}, "exclude items must hold int32 numbers, got dtype float64"),
        ({"exclude": ([0, 1, 1], [0])}, "exclude has 2 rows, expected 1 rows"),
        ({"exclude": ([0, 2], [0])}, "exclude has offsets from 0 to 2"),
        ({"allow": [True, False]}, "allow is a mask of 2 items, the index has 4"),
        ({"allow": [0, 4]}, "allow has item 4 at position 1, expected 0 to below 4"),
        ({"deny": [-1]}, "deny has item -1 at position 0"),
        ({"deny": ["x"]}, "deny must hold int64 numbers"),
        ({"boosts": ([0, 1], [0])}, "boosts must be a tuple (offsets"),
        ({"boosts": ([0, 1], [0], [np.inf])}, "boosts holds inf"),
        ({"boosts": ([0, 1], [0], [1.0, 2.0])}, "boosts has 2 values, expected 1 values"),
        ({"boosts": ([0, 1], [9], [1.0])}, "boosts is item 9"),
        ({"tasks": [0]}, "tasks is given, expected none: the index was built without task_bias"),
        ({"bias": [0.0]}, "bias has 1 values, expected 4 values"),
        ({"bias": [0, np.inf, 0, 0]}, "bias holds inf at row 1"),
        ({"path": "int2"}, 'path is "int2", expected fp32, bf16, int8 or int4'),
        ({"path": "int8"}, "path is int8, expected fp32, or a precision that the index was built with"),
    ],
)
def test_refusals_name_the_argument(arguments: dict[str, Any], message: str) -> None:
    call = {"queries": QUERY, "k": 2} | arguments
    with pytest.raises(ArgumentError, match=re.escape(message)):
        INDEX.topk(**call)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([1], "tasks is 1 at row 0, expected -1, or a row of the index's task_bias below 1"),
        ([-2], "tasks is -2 at row 0"),
        ([0, 0], "tasks has 2 values, expected 1 values"),
    ],
)
def test_unknown_tasks_are_refused(tasks: list[int], message: str) -> None:
    index = ItemIndex(np.eye(4), task_bias=np.zeros((1, 4)))
    assert index.n_tasks == 1
    with pytest.raises(ArgumentError, match=re.escape(message)):
        index.topk(QUERY, 2, tasks=tasks)


@pytest.mark.parametrize(
    ("matrix", "bias", "message"),
    [
        ([[np.inf, 0]], None, "matrix holds inf at row 0"),
        ([1, 2], None, "matrix must have 2 dimension(s)"),
        ([[1, 2]], [1, 2], "bias has 2 values, expected 1 values"),
        ([[1, 2]], [np.nan], "bias holds NaN at row 0"),
        ([[object()]], None, "matrix must hold float32 numbers, got dtype object"),
    ],
)
def test_a_wrong_matrix_is_refused(matrix: Any, bias: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        ItemIndex(matrix, bias)


def test_scores_at_refuses_what_does_not_fit() -> None:
    with pytest.raises(ArgumentError, match="2 rows, expected 1"):
        INDEX.scores_at(QUERY, ([0, 1, 1], [0]))
    with pytest.raises(ArgumentError, match="item 4 at position 0"):
        INDEX.scores_at(QUERY, ([0, 1], [4]))
    assert INDEX.scores_at(QUERY, ([0, 2], [3, 0])).tolist() == [1.0, 4.0]


@pytest.mark.parametrize(
    "queries",
    [
        QUERY.tolist(),
        QUERY.astype(np.float64),
        QUERY.astype(np.int16),
        np.asfortranarray(np.vstack([QUERY, QUERY]))[:1],
        np.repeat(QUERY, 2, axis=1)[:, ::2],
        QUERY.astype(">f4"),
    ],
)
def test_other_numbers_and_layouts_are_converted(queries: Any) -> None:
    lists = INDEX.topk(queries, 2)
    assert lists.items.tolist() == [0, 1]
    assert lists.scores.tolist() == [4.0, 3.0]


def test_inputs_are_not_copied_or_changed() -> None:
    matrix = np.eye(4, dtype=np.float32)
    matrix.flags.writeable = False
    references = sys.getrefcount(matrix)
    index = ItemIndex(matrix)
    assert sys.getrefcount(matrix) == references + 1
    assert index.nbytes < matrix.nbytes
    query = QUERY.copy()
    query.flags.writeable = False
    items = np.array([2, 0, 2], np.int32)
    assert index.topk(query, 4, exclude=(np.array([0, 3]), items)).items.tolist() == [1, 3]
    assert items.tolist() == [2, 0, 2]
    assert np.array_equal(query, QUERY)


def test_histories_exclude_themselves() -> None:
    lists = INDEX.topk(np.vstack([QUERY, QUERY]), 4, exclude=Histories.from_lists([[0, 0, 3], []]))
    assert [row.tolist() for row in np.split(lists.items, lists.offsets[1:-1])] == [[1, 2], [0, 1, 2, 3]]


def test_repr_and_sizes() -> None:
    assert repr(INDEX) == "ItemIndex(n_items=4, width=4)"
    assert (len(INDEX), INDEX.n_items, INDEX.width) == (4, 4, 4)
