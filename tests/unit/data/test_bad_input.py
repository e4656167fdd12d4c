"""Bad logs: a typed error that names what is wrong, or a report of what was dropped."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarec_sdk.data import read_interactions
from metarec_sdk.errors import ArgumentError, ColumnError, DataError, DataWarning, MetarecError

START = 1_700_000_000


def frame_with(**columns: Any) -> pl.DataFrame:
    """A good log of three rows with some columns replaced or added."""
    base: dict[str, Any] = {"user_id": [1, 2, 3], "item_id": ["a", "b", "c"], "timestamp": [START] * 3}
    return pl.DataFrame({**base, **columns}, strict=False)


@dataclass
class Bad:
    """A source that must be refused."""

    source: Any
    error: type[MetarecError]
    message: str
    arguments: dict[str, Any] = field(default_factory=dict)


VALUE, EVENT, KEY = {"value": "v"}, {"event": "v"}, {"event_id": "v"}
ROWS: dict[str, Bad] = {
    "null user": Bad(frame_with(user_id=[1, None, 3]), DataError, r"'user_id' is null in 1 .*: 1 \(None\)"),
    "null item": Bad(frame_with(item_id=["a", None, None]), DataError, "'item_id' is null in 2"),
    "empty item": Bad(frame_with(item_id=["a", "", "c"]), DataError, "'item_id' is an empty string"),
    "user beyond int64": Bad(
        frame_with(user_id=pl.Series([1, 2, 2**64 - 1], dtype=pl.UInt64)), DataError, "beyond int64"
    ),
    "null time": Bad(frame_with(timestamp=[START, None, START]), DataError, "'timestamp' is null"),
    "NaN time": Bad(frame_with(timestamp=[START, np.nan, START + 0.0]), DataError, "isn't a whole number"),
    "infinite time": Bad(frame_with(timestamp=[START, np.inf, 1.0]), DataError, "isn't a whole number"),
    "half seconds": Bad(frame_with(timestamp=[START + 0.5] * 3), DataError, "finer unit"),
    "float beyond 2^53": Bad(frame_with(timestamp=[START, 2.0**53, 1]), DataError, "below 2\\^53"),
    "time 2^63": Bad(
        frame_with(timestamp=pl.Series([START, START, 2**63], dtype=pl.UInt64)), DataError, "beyond the years"
    ),
    "time 2^63 - 1": Bad(frame_with(timestamp=[START, START, 2**63 - 1]), DataError, "beyond the years"),
    "time -2^63": Bad(frame_with(timestamp=[START, START, -(2**63)]), DataError, "beyond the years"),
    "time text": Bad(frame_with(timestamp=[str(START), "soon", str(START)]), DataError, "'soon'"),
    "date text": Bad(
        frame_with(timestamp=["2024-02-29", "2024-02-30", "2024-03-01"]), DataError, "2024-02-30"
    ),
    "NaN value": Bad(
        frame_with(v=[1.0, np.nan, 2.0]), DataError, r"'v' is NaN or infinite.*1 \(nan\)", VALUE
    ),
    "infinite value": Bad(frame_with(v=[1.0, 2.0, -np.inf]), DataError, "'v' is NaN or infinite", VALUE),
    "value text": Bad(frame_with(v=["1", "two", "3"]), DataError, "'v' isn't a number", VALUE),
    "null event": Bad(frame_with(v=["view", None, "view"]), DataError, "'v' is null", EVENT),
    "empty event": Bad(frame_with(v=["view", "", "view"]), DataError, "'v' is an empty string", EVENT),
    "duplicate event id": Bad(
        frame_with(v=["x", "y", "x"]), DataError, r"repeats an earlier .*2 \('x'\)", KEY
    ),
    "null event id": Bad(frame_with(v=["x", None, "y"]), DataError, "'v' is null", KEY),
}
WHOLE: dict[str, Bad] = {
    "missing user": Bad(frame_with().drop("user_id"), ColumnError, "user="),
    "misnamed item": Bad(frame_with(), ColumnError, "Did you mean item='item_id'", {"item": "itemid"}),
    "missing time": Bad(frame_with().drop("timestamp"), ColumnError, "use time=None"),
    "misnamed event": Bad(frame_with(action=["x"] * 3), ColumnError, "'action'", {"event": "actions"}),
    "float ids": Bad(frame_with(user_id=[1.0, 2.0, 3.0]), ColumnError, "pandas turns integers"),
    "pandas gap": Bad(
        pd.DataFrame({"user_id": [1, None], "item_id": [1, 2], "timestamp": [START] * 2}),
        ColumnError,
        "pandas turns integers",
    ),
    "boolean ids": Bad(frame_with(item_id=[True, False, True]), ColumnError, "integers or strings"),
    "list ids": Bad(frame_with(item_id=[[1], [2], [3]]), ColumnError, "integers or strings"),
    "date ids": Bad(frame_with(item_id=pl.Series([START] * 3).cast(pl.Datetime)), ColumnError, "integers or"),
    "only null ids": Bad(frame_with(user_id=[None] * 3), DataError, "only nulls"),
    "float32 time": Bad(frame_with(timestamp=pl.Series([1e9] * 3, dtype=pl.Float32)), ColumnError, "exactly"),
    "boolean time": Bad(frame_with(timestamp=[True] * 3), ColumnError, "'timestamp'"),
    "duration": Bad(frame_with(timestamp=pl.Series([1] * 3).cast(pl.Duration)), ColumnError, "'timestamp'"),
    "numeric event": Bad(frame_with(v=[1, 2, 3]), ColumnError, "event types must be strings", EVENT),
    "list value": Bad(frame_with(v=[[1.0]] * 3), ColumnError, "values must be numbers", VALUE),
    "float event id": Bad(frame_with(v=[0.5] * 3), ColumnError, "event ids must be", KEY),
    "empty log": Bad(frame_with()[:0], DataError, "empty"),
    "clash": Bad(frame_with(value=[1.0] * 3), ColumnError, "use it with value='value'"),
    "clash of row": Bad(frame_with(row=[1, 2, 3]), ColumnError, "'row'.*rename"),
    "clash of user": Bad(frame_with(name=["a"] * 3), ColumnError, "user='user_id'", {"user": "name"}),
    "one column twice": Bad(frame_with(), ArgumentError, "each role", {"item": "user_id"}),
    "unit": Bad(frame_with(), ArgumentError, "time_unit", {"time_unit": "minutes"}),
    "on_invalid": Bad(frame_with(), ArgumentError, "on_invalid", {"on_invalid": "ignore"}),
    "default event": Bad(frame_with(), ArgumentError, "default_event", {"default_event": ""}),
    "no table": Bad(42, ArgumentError, "source must be"),
    "empty list": Bad([], ArgumentError, "source must be"),
    "pandas series": Bad(pd.Series([1]), ArgumentError, "DataFrame"),
    "double column": Bad(
        pd.DataFrame([[1, 2, 3]], columns=["user_id", "user_id", "timestamp"]), ColumnError, "more than once"
    ),
    "no file": Bad("nowhere/log.csv", DataError, "there is no file"),
    "no match": Bad("nowhere/*.csv", DataError, "no file matches"),
}


@pytest.mark.parametrize("name", [*ROWS, *WHOLE])
def test_refused_with_a_typed_error(name: str) -> None:
    bad = (ROWS | WHOLE)[name]
    with pytest.raises(bad.error, match=bad.message):
        read_interactions(bad.source, **bad.arguments)


@pytest.mark.parametrize("name", ROWS)
def test_dropping_reports_what_is_dropped(name: str) -> None:
    bad = ROWS[name]
    if name == "half seconds":
        with pytest.raises(DataError, match="no row can be used"):
            read_interactions(bad.source, on_invalid="drop", **bad.arguments)
        return
    with pytest.warns(DataWarning):
        log = read_interactions(bad.source, on_invalid="drop", **bad.arguments)
    assert log.reading is not None
    assert log.reading.rows_before == 3
    assert log.reading.rows_after == len(log) < 3
    assert sum(rule.rows for rule in log.reading.rules) == 3 - len(log)
    dropped = {example["row"] for rule in log.reading.rules for example in rule.examples}
    assert dropped == {0, 1, 2} - set(log.frame["row"])


def test_all_problems_are_named_at_once() -> None:
    bad = frame_with(user_id=[1, None, 3], item_id=["", "b", "c"], v=[1.0, 2.0, np.nan])
    with pytest.raises(DataError) as caught:
        read_interactions(bad, value="v")
    for column in ("user_id", "item_id", "'v'"):
        assert column in str(caught.value)
    assert "on_invalid='drop'" in str(caught.value)


@pytest.mark.parametrize(
    ("scale", "unit", "right"),
    [(1, "ms", "s"), (1, "us", "s"), (1, "ns", "us"), (1000, "us", "ms"), (10**6, "ns", "us")],
)
def test_wrong_unit_warns_with_the_dates(scale: int, unit: str, right: str) -> None:
    frame = frame_with(timestamp=[START * scale] * 3)
    if right == "us" and scale == 1:
        right = "s"
    with pytest.warns(DataWarning, match=f"2023-11-14 in '{right}'"):
        read_interactions(frame, time_unit=unit)  # type: ignore[arg-type]


def test_too_coarse_unit_is_beyond_range_and_names_the_right_one() -> None:
    with pytest.raises(DataError, match="2023-11-14 in 'ms'"):
        read_interactions(frame_with(timestamp=[START * 1000] * 3))


def test_positions_given_as_times_warn() -> None:
    with pytest.warns(DataWarning, match="time=None"):
        read_interactions(frame_with(timestamp=[0, 1, 2]))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("cut.parquet", b"PAR1 not really"),
        ("empty.parquet", b""),
        ("empty.csv", b""),
        ("ragged.csv", b"user_id,item_id,timestamp\n1,2,1700000000,9,9\n"),
        ("latin.csv", b"user_id,item_id,timestamp\n\xff\xfe,2,1700000000\n"),
        ("broken.jsonl", b'{"user_id": 1, "item_id": 2, "timestamp": 17\n{'),
        ("header.csv", b"user_id,item_id,timestamp\n"),
        ("nul.csv", b"user_id,item_id,timestamp\n\x00\n"),
        ("bad-time.csv", b"user_id,item_id,timestamp\n" + b"1,1,1700000000\n" * 12_000 + b"1,1,never\n"),
    ],
)
def test_damaged_files(file: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / file
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_interactions(path)


def test_late_surprise_in_a_csv_names_the_row(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    good = "".join(f"{i},1,{START}\n" for i in range(12_000))
    path.write_text(f"user_id,item_id,timestamp\n{good}1,1,never\nx,1,{START}\n")
    with pytest.raises(DataError, match=r"'timestamp' isn't .* 12000 \('never'\)"):
        read_interactions(path)


def test_unknown_ending_and_folder(tmp_path: Path) -> None:
    (tmp_path / "log.xlsx").write_bytes(b"x")
    with pytest.raises(ArgumentError, match="xlsx"):
        read_interactions(tmp_path / "log.xlsx")
    with pytest.raises(DataError, match="is a folder"):
        read_interactions(tmp_path)


def test_large_fields_and_odd_text_are_ids_like_any_other() -> None:
    odd = ["x" * 10_000_000, "a\x00b", "‮🙂 \n"]
    assert read_interactions(frame_with(item_id=odd)).frame["item_id"].to_list() == odd


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
            st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=3)),
            st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(START, START + 9)),
            st.one_of(st.none(), st.floats()),
        ),
        max_size=6,
    ),
    st.sampled_from(["s", "ms", "us", "ns"]),
)
@pytest.mark.filterwarnings("ignore::metarec_sdk.errors.DataWarning")
def test_any_log_is_read_dropped_or_refused(rows: list[tuple[Any, ...]], unit: str) -> None:
    schema = {"user_id": pl.Int64, "item_id": pl.String, "timestamp": pl.Int64, "v": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    try:
        log = read_interactions(frame, value="v", time_unit=unit, on_invalid="drop")  # type: ignore[arg-type]
    except DataError:
        with pytest.raises(DataError):
            read_interactions(frame, value="v", time_unit=unit)  # type: ignore[arg-type]
        return
    assert set(log.frame["row"]) <= set(range(len(rows)))
    per_unit = {"s": 10**6, "ms": 10**3, "us": 1}
    for event in log.frame.iter_rows(named=True):
        user, item, time, value = rows[event["row"]]
        assert (event["user_id"], event["item_id"], event["value"]) == (user, item, value)
        assert event["timestamp"] == (time // 1000 if unit == "ns" else time * per_unit[unit])
