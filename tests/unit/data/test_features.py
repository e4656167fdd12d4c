"""Behaviour features against answers worked out by hand, and one scale for all."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from metarec_sdk.data import (
    Interactions,
    Vocabulary,
    behaviour_features,
    normalise_values,
    read_interactions,
    standardise,
)
from metarec_sdk.errors import ArgumentError, ColumnError

START = 1_700_000_000
DAY = 86_400


def log() -> Interactions:
    events: list[tuple[Any, ...]] = [
        ("a", 1, 0, "view", None),
        ("a", 1, 0, "click", None),
        ("a", 2, DAY, "view", None),
        ("a", 2, 2 * DAY, "purchase", None),
        ("b", 1, 4 * DAY, "dwell", 30.0),
        ("b", 1, 4 * DAY, "dwell", 10.0),
        ("b", 3, 4 * DAY, "rating", 4.0),
        ("b", 3, 4 * DAY, "rating", None),
    ]
    frame = pl.DataFrame(events, schema=["user_id", "item_id", "t", "kind", "v"], orient="row")
    frame = frame.with_columns(pl.col("t") + START)
    return read_interactions(frame, time="t", event="kind", value="v")


def test_known_answers() -> None:
    features = behaviour_features(log())
    assert features["user_id"].to_list() == ["a", "b"]
    a, b = features.to_dicts()
    assert a["events"] == b["events"] == 4
    assert a["click_through_rate"] == 0.5
    assert b["click_through_rate"] is None
    assert a["purchase_rate"] == 0.25
    assert b["purchase_rate"] is None
    assert a["mean_value"] is None
    assert b["mean_value"] == 4.0
    assert a["dwell"] is None
    assert b["dwell"] == 20.0
    assert (a["recency"], b["recency"]) == (2.0, 0.0)
    assert (a["frequency"], b["frequency"]) == (2.0, 4.0)
    assert a["diversity"] == pytest.approx(np.log(2))
    assert a["popularity"] == pytest.approx(np.log(4 / 8) / 2 + np.log(2 / 8) / 2)
    assert b["popularity"] == pytest.approx(np.log(4 / 8) / 2 + np.log(2 / 8) / 2)


def test_diversity_over_categories() -> None:
    items = pl.DataFrame({"item_id": [1, 2, 3], "genres": [["x"], ["x", "y"], None]})
    features = behaviour_features(log(), items=items, category="genres")
    # a: x twice and x, y twice; b: x twice, the other item has no category.
    p = np.array([4, 2]) / 6
    assert features["diversity"].to_list() == pytest.approx([-(p * np.log(p)).sum(), 0.0])
    single = items.with_columns(genres=pl.Series(["x", "y", None]))
    assert behaviour_features(log(), items=single, category="genres")["diversity"][0] == pytest.approx(
        np.log(2)
    )


def test_without_times_there_is_no_recency() -> None:
    timeless = read_interactions(log().frame.select("user_id", "item_id"), time=None)
    assert not {"recency", "frequency"} & set(behaviour_features(timeless).columns)


def test_now() -> None:
    features = behaviour_features(log(), now=(START + 5 * DAY) * 10**6)
    assert features["recency"].to_list() == [3.0, 1.0]
    with pytest.raises(ArgumentError, match="before the last event"):
        behaviour_features(log(), now=START * 10**6)


def test_refused() -> None:
    items = pl.DataFrame({"item_id": [1], "genre": ["x"]})
    with pytest.raises(ArgumentError, match="both items= and category="):
        behaviour_features(log(), items=items)
    with pytest.raises(ColumnError, match="'genre'"):
        behaviour_features(log(), items=items, category="genres")
    with pytest.raises(ColumnError, match="item_id"):
        behaviour_features(log(), items=items.with_columns(item_id=pl.lit("1")), category="genre")


def test_standardise_is_aligned_with_the_vocabulary() -> None:
    features = pl.DataFrame(
        {"user_id": ["c", "a", "b", "z"], "x": [3.0, 1.0, None, 100.0], "y": [1, 1, 1, 1]}
    )
    users = Vocabulary(pl.Series(["a", "b", "c", "d"]))
    result = standardise(features, users)
    assert result.names == ("x", "y")
    assert result.matrix.dtype == np.float32
    assert result.matrix.tolist() == [[-1, 0], [0, 0], [1, 0], [0, 0]]
    later = standardise(features, Vocabulary(pl.Series(["z", "c"])), like=result)
    assert later.matrix.tolist() == [[5, 0], [1, 0]]  # clipped at five standard deviations


def test_standardise_real_features() -> None:
    features = behaviour_features(log())
    result = standardise(features, Vocabulary.from_ids(["a", "b"]))
    assert np.isfinite(result.matrix).all()
    frequency = result.names.index("frequency")
    assert result.mean[frequency] == pytest.approx((np.log(3) + np.log(5)) / 2)


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (pl.DataFrame({"user": ["a"]}), ColumnError),
        (pl.DataFrame({"user_id": ["a"], "x": ["1"]}), ColumnError),
        (pl.DataFrame({"user_id": ["a", "a"], "x": [1.0, 2.0]}), ArgumentError),
        (pl.DataFrame({"user_id": ["a"], "x": [float("inf")]}), ArgumentError),
    ],
)
def test_standardise_refuses(frame: pl.DataFrame, error: type[Exception]) -> None:
    with pytest.raises(error):
        standardise(frame, Vocabulary.from_ids(["a"]))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("centre", [None] * 4 + [10.0, -10.0, 0.0, None]),
        ("zscore", [None] * 4 + [1.0, -1.0, 0.0, None]),
        ("minmax", [None] * 4 + [1.0, 0.0, 0.0, None]),
    ],
)
def test_normalise_values(how: str, expected: list[float | None]) -> None:
    assert normalise_values(log(), how).frame["value"].to_list() == expected  # type: ignore[arg-type]


def test_normalise_by_user_and_bad_arguments() -> None:
    centred = normalise_values(log(), "centre", by="user_id").frame["value"].drop_nulls()
    assert centred.to_list() == pytest.approx([30 - 44 / 3, 10 - 44 / 3, 4 - 44 / 3])
    with pytest.raises(ArgumentError, match="how"):
        normalise_values(log(), "log")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="by"):
        normalise_values(log(), "centre", by="market")  # type: ignore[arg-type]
