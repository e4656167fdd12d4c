"""Vocabulary and encode: known answers, round trips, order."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarec_sdk.data import Interactions, Vocabulary, encode, read_interactions
from metarec_sdk.errors import ArgumentError, ArtefactError, ColumnError, DataError, UnknownIdError

START = 1_700_000_000


def log_of(events: list[tuple[str, str, int]]) -> Interactions:
    users, items, times = zip(*events)
    frame = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": [START + t for t in times]})
    return read_interactions(frame)


def test_known_answer() -> None:
    log = log_of([("b", "y", 3), ("a", "x", 2), ("b", "x", 1), ("a", "z", 2), ("b", "z", 3)])
    training, users, items = encode(log)
    assert users.ids.to_list() == ["a", "b"]
    assert items.ids.to_list() == ["x", "y", "z"]
    # Ties (a at 2, b at 3) stay in the order of the rows.
    assert [row.tolist() for row in training.histories] == [[0, 2], [0, 1, 2]]
    assert training.n_items == 3
    assert training.histories.items.dtype == np.int32
    assert training.histories.offsets.tolist() == [0, 2, 5]
    assert training.histories.timestamps[0] == (START + 2) * 1_000_000


def test_weights_follow_their_events() -> None:
    log = log_of([("b", "y", 3), ("a", "x", 2), ("b", "x", 1)])
    training, _, _ = encode(log, weights=np.array([1, 2, 3], np.float32))
    assert training.histories.weights.tolist() == [2, 3, 1]


def test_given_vocabularies_fix_the_rows_and_drop_the_unknown() -> None:
    log = log_of([("b", "y", 1), ("a", "x", 2), ("d", "x", 3)])
    users = Vocabulary(pl.Series(["c", "b", "a"]))
    training, same, _ = encode(log, users=users, items=Vocabulary.from_ids(["x"]))
    assert same is users
    assert [row.tolist() for row in training.histories] == [[], [], [0]]
    with pytest.raises(UnknownIdError, match="'d'"):
        encode(log, users=users, unknown="raise")
    with pytest.raises(UnknownIdError, match="'y'"):
        encode(log, items=Vocabulary.from_ids(["x"]), unknown="raise")


@pytest.mark.parametrize("weights", [[1.0], [1.0, np.nan], [1.0, -1.0], [[1.0, 2.0]]])
def test_bad_weights(weights: list[float]) -> None:
    with pytest.raises(ArgumentError, match="weights"):
        encode(log_of([("a", "x", 1), ("a", "y", 2)]), weights=np.array(weights, np.float32))


ids = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40),
    st.lists(st.integers(-50, 200), min_size=1, max_size=200),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=100),
)


@settings(deadline=None, max_examples=40)
@given(ids)
def test_encode_decode_round_trip(values: list[int] | list[str]) -> None:
    vocabulary = Vocabulary.from_ids(values)
    assert vocabulary.ids.to_list() == sorted(
        set(values), key=lambda v: v.encode() if isinstance(v, str) else v
    )
    indices = vocabulary.encode(values)
    assert indices.dtype == np.int32
    assert vocabulary.decode(indices).to_list() == values
    assert Vocabulary.from_frame(vocabulary.to_frame()) == vocabulary


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-300, 300)), st.lists(st.integers(-300, 300)))
def test_extend_keeps_old_indices(old: list[int], new: list[int]) -> None:
    before = Vocabulary.from_ids(old)
    after = before.extend(new)
    assert after.encode(before.ids).tolist() == list(range(len(before)))
    assert set(after.ids) == set(old) | set(new)


@pytest.mark.parametrize("n", [3, 500])
@pytest.mark.parametrize("step", [1, 10**12])
def test_unknown_ids_get_minus_one(n: int, step: int) -> None:
    vocabulary = Vocabulary.from_ids([i * step for i in range(n)])
    queried = [i * step for i in range(-n, 2 * n)] + [2**63 - 1, -(2**63)]
    expected = [-1] * n + list(range(n)) + [-1] * n + [-1, -1]
    assert vocabulary.encode(queried).tolist() == expected
    assert vocabulary.encode(queried[:4]).tolist() == expected[:4]
    assert vocabulary.decode([-1, 0]).to_list() == [None, 0]


def test_vocabulary_refuses() -> None:
    vocabulary = Vocabulary.from_ids([1, 2])
    with pytest.raises(ColumnError, match="integers in this vocabulary, got strings"):
        vocabulary.encode(["1"])
    with pytest.raises(DataError, match="null"):
        vocabulary.encode([1, None])
    with pytest.raises(DataError, match="all integers"):
        vocabulary.encode([1, "a"])
    with pytest.raises(DataError, match="wrap it"):
        Vocabulary.from_ids("abc")
    with pytest.raises(DataError, match="Unicode"):
        Vocabulary.from_ids(["\ud800"])
    with pytest.raises(DataError, match="int64"):
        vocabulary.encode([2**63])
    with pytest.raises(DataError, match="unique"):
        Vocabulary(pl.Series([1, 1]))
    with pytest.raises(ColumnError, match="floats"):
        Vocabulary.from_ids(pl.Series([1.0]))
    for bad in ([2], [-2]):
        with pytest.raises(ArgumentError, match="outside"):
            vocabulary.decode(bad)
    with pytest.raises(ArgumentError, match="integers"):
        vocabulary.decode(np.array([0.5]))


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"index": [0, 2], "id": ["a", "b"]}),
        pl.DataFrame({"index": [0, 1], "id": ["a", "a"]}),
        pl.DataFrame({"index": [0, 1], "id": ["a", None]}),
        pl.DataFrame({"index": [0], "name": ["a"]}),
    ],
)
def test_damaged_vocabulary_frame(frame: pl.DataFrame) -> None:
    with pytest.raises(ArtefactError):
        Vocabulary.from_frame(frame)
