"""The ragged arrays that every stage relies on, against plain Python lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import Histories, TopK

rows = st.lists(st.lists(st.integers(0, 50), max_size=6), min_size=1, max_size=8)


def lists(histories: Histories) -> list[list[int]]:
    return [row.tolist() for row in histories]


@given(rows, st.integers(0, 7), st.integers(0, 7))
def test_slices_agree_with_lists(given_rows, start, stop):
    histories = Histories.from_lists(given_rows)
    assert lists(histories) == given_rows
    assert lists(histories.first(stop)) == [row[:stop] for row in given_rows]
    assert lists(histories.last(stop)) == [row[len(row) - min(stop, len(row)) :] for row in given_rows]
    assert lists(histories.between(start, stop)) == [row[start:stop] for row in given_rows]


@given(rows, st.randoms(use_true_random=False))
def test_take_keep_join_concatenate_agree_with_lists(given_rows, random):
    histories = Histories.from_lists(given_rows)
    order = [random.randrange(len(given_rows)) for _ in range(5)]
    assert lists(histories.take(np.array(order))) == [given_rows[i] for i in order]
    assert lists(histories.keep(histories.items % 2 == 0)) == [
        [i for i in row if i % 2 == 0] for row in given_rows
    ]
    other = Histories.from_lists([row[::-1] for row in given_rows])
    assert lists(histories.join(other)) == [row + row[::-1] for row in given_rows]
    assert lists(Histories.concatenate([histories, other])) == given_rows + [row[::-1] for row in given_rows]


def test_histories_refuse_offsets_that_do_not_end_at_the_events():
    with pytest.raises(ArgumentError, match="ending at 2"):
        Histories(np.zeros(2, np.int32), np.array([0, 3]), np.ones(2, np.float32), np.zeros(2, np.int64))
    with pytest.raises(ArgumentError, match="equally long"):
        Histories(np.zeros(2, np.int32), np.array([0, 2]), np.ones(1, np.float32), np.zeros(2, np.int64))


def test_padded_lists_are_cut_and_filled():
    ranked = TopK(np.array([0, 3, 3, 4]), np.array([7, 1, 2, 9]), np.array([3, 2, 1, 5], np.float32))
    items, scores = ranked.padded(2)
    assert items.tolist() == [[7, 1], [-1, -1], [9, -1]]
    assert scores.tolist() == [[3, 2], [-np.inf, -np.inf], [5, -np.inf]]
