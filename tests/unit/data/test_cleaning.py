"""clean: each rule on a tiny log, nothing unasked, and a report that adds up."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from metarec_sdk.data import Interactions, clean, read_interactions
from metarec_sdk.errors import ArgumentError, ColumnError, DataError

START = 1_700_000_000


def log_of(events: list[tuple[Any, ...]]) -> Interactions:
    """Events as (user, item, seconds, type, value)."""
    schema = ["user_id", "item_id", "timestamp", "kind", "v"]
    frame = pl.DataFrame(events, schema=schema, orient="row")
    times = pl.col("timestamp") + START
    return read_interactions(frame.with_columns(times, pl.col("v").cast(pl.Float64)), event="kind", value="v")


def rows(log: Interactions) -> list[int]:
    return log.frame["row"].to_list()


LOG = log_of(
    [
        (1, 10, 0, "rating", 5),
        (1, 10, 0, "rating", 5),
        (1, 10, 0, "rating", 4),
        (1, 11, 1, "rating", 9),
        (2, 10, 2, "dwell", -1),
        (2, 11, 3, "dwell", None),
        (2, 12, 4000, "view", None),
    ]
)


def test_nothing_unasked() -> None:
    log, report = clean(LOG)
    assert log.frame.equals(LOG.frame)
    assert report.rules == ()
    assert report.rows_removed == 0


@pytest.mark.parametrize(
    ("arguments", "left", "counts"),
    [
        ({"duplicates": True}, [0, 2, 3, 4, 5, 6], {"duplicates": 1}),
        ({"missing": ["value"]}, [0, 1, 2, 3, 4], {"missing": 2}),
        ({"value_range": {"rating": (1, 5)}}, [0, 1, 2, 4, 5, 6], {"value_range": 1}),
        ({"value_range": {"dwell": (0, None)}}, [0, 1, 2, 3, 5, 6], {"value_range": 1}),
        ({"value_range": {"rating": (None, 4)}}, [2, 4, 5, 6], {"value_range": 3}),
        ({"max_events_per_minute": 3}, [4, 5, 6], {"max_events_per_minute": 4}),
        ({"max_events_per_minute": 4}, [0, 1, 2, 3, 4, 5, 6], {"max_events_per_minute": 0}),
        ({"max_events_per_hour": 3}, [4, 5, 6], {"max_events_per_hour": 4}),
        ({"time_range": ((START + 1) * 10**6, None)}, [3, 4, 5, 6], {"time_range": 3}),
        (
            {"time_range": (None, datetime.fromtimestamp(START + 3, UTC))},
            [0, 1, 2, 3, 4, 5],
            {"time_range": 1},
        ),
        ({"min_item_events": 2}, [0, 1, 2, 3, 4, 5], {"k_core": 1}),
        ({"min_user_events": 4}, [0, 1, 2, 3], {"k_core": 3}),
        ({"min_user_events": 3, "min_item_events": 2}, [0, 1, 2], {"k_core": 4}),
        (
            {"duplicates": True, "value_range": {"rating": (1, 5), "dwell": (0, None)}},
            [0, 2, 5, 6],
            {"duplicates": 1, "value_range": 2},
        ),
    ],
)
def test_rules(arguments: dict[str, Any], left: list[int], counts: dict[str, int]) -> None:
    log, report = clean(LOG, **arguments)
    assert rows(log) == left
    summed: dict[str, int] = {}
    for rule in report.rules:
        summed[rule.rule] = summed.get(rule.rule, 0) + rule.rows
        assert len(rule.examples) == min(rule.rows, 5)
        assert all(example["row"] not in left for example in rule.examples)
    assert summed == counts
    assert report.rows_removed == 7 - len(left) == sum(counts.values())
    assert json.loads(json.dumps(report.to_dict()))["rows_after"] == len(left)


def test_bots_in_any_window_not_just_calendar_minutes() -> None:
    spread = log_of([(1, i, 50 + 5 * i, "view", None) for i in range(4)] + [(2, 0, 0, "view", None)])
    assert rows(clean(spread, max_events_per_minute=3)[0]) == [4]
    edge = log_of([(1, i, 20 * i, "view", None) for i in range(4)])  # the 4th is 60 s after the 1st
    assert len(clean(edge, max_events_per_minute=3)[0]) == 4


def test_duplicates_without_times_and_with_text_ids() -> None:
    frame = pl.DataFrame({"user_id": ["a", "a", "b", "a"], "item_id": ["x", "x", "x", "y"]})
    log, report = clean(read_interactions(frame, time=None), duplicates=True)
    assert rows(log) == [0, 2, 3]
    assert report.rules[0].examples == ({"row": 1, "user_id": "a", "item_id": "x"},)


def test_report_prints_as_a_table_and_as_text() -> None:
    _, report = clean(LOG, duplicates=True, value_range={"dwell": (0, None)})
    console = Console(width=120)
    with console.capture() as capture:
        console.print(report)
    for text in (capture.get(), str(report)):
        for expected in ("2 of 7 rows removed", "duplicates", "value_range", "row 4", "value=-1.0"):
            assert expected in text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"missing": ["vale"]}, ColumnError, "value"),
        ({"value_range": {"ratings": (1, 5)}}, ArgumentError, "'ratings'.*'rating'"),
        ({"value_range": {"rating": (5, 1)}}, ArgumentError, "empty"),
        ({"time_range": (2, 1)}, ArgumentError, "empty"),
        ({"time_range": ("now", None)}, ArgumentError, "time_range must be"),
        ({"max_events_per_minute": 0}, ArgumentError, "max_events_per_minute"),
        ({"min_user_events": 1.5}, ArgumentError, "min_user_events"),
        ({"min_item_events": True}, ArgumentError, "min_item_events"),
        ({"min_user_events": 100}, DataError, "k_core: 7 rows"),
    ],
)
def test_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        clean(LOG, **arguments)


def test_rates_need_times() -> None:
    log = read_interactions(LOG.frame.select("user_id", "item_id"), time=None)
    with pytest.raises(ArgumentError, match="needs times"):
        clean(log, max_events_per_minute=1)


events = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.just("view"), st.none()), min_size=1
)


@settings(deadline=None, max_examples=40)
@given(events, st.integers(1, 4), st.integers(1, 4))
def test_core_is_the_largest_one(data: list[tuple[Any, ...]], min_user: int, min_item: int) -> None:
    expected = list(range(len(data)))
    while True:
        users, items = ([data[i][side] for i in expected] for side in (0, 1))
        kept = [
            i for i in expected if users.count(data[i][0]) >= min_user and items.count(data[i][1]) >= min_item
        ]
        if kept == expected:
            break
        expected = kept
    arguments = {"min_user_events": min_user, "min_item_events": min_item}
    if not expected:
        with pytest.raises(DataError, match="leaves nothing"):
            clean(log_of(data), **arguments)
    else:
        assert rows(clean(log_of(data), **arguments)[0]) == expected


@settings(deadline=None, max_examples=40)
@given(events)
def test_duplicates_keep_the_first(data: list[tuple[Any, ...]]) -> None:
    first = [i for i, event in enumerate(data) if event not in data[:i]]
    assert rows(clean(log_of(data), duplicates=True)[0]) == first
