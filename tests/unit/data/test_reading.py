"""read_interactions: every source gives the same log; times are exact; extras stay."""

from __future__ import annotations

import gzip
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from metarec_sdk.data import Interactions, read_interactions
from metarec_sdk.errors import ArgumentError, ColumnError, DataError, DataWarning

START = 1_700_000_000
FRAME = pl.DataFrame(
    {
        "who": ["u1", "u2", "u1"],
        "what": [10, 11, 11],
        "when": [START + 2, START, START + 1],
        "kind": ["view", "purchase", "rating"],
        "stars": [None, 1.5, 4.0],
        "market": ["de", "fr", "de"],
    }
)
COLUMNS = {"user": "who", "item": "what", "time": "when", "event": "kind", "value": "stars"}


def write(kind: str, folder: Path) -> Any:
    """The frame in the form that the kind says."""
    if kind == "parquet":
        FRAME.write_parquet(folder / "log.parquet")
    elif kind == "csv":
        FRAME.write_csv(folder / "log.csv")
    elif kind == "tsv":
        FRAME.write_csv(folder / "log.tsv", separator="\t")
    elif kind == "jsonl":
        FRAME.write_ndjson(folder / "log.jsonl")
    elif kind == "glob":
        FRAME[:2].write_parquet(folder / "a.parquet")
        FRAME[2:].write_parquet(folder / "b.parquet")
        return str(folder / "*.parquet")
    elif kind == "paths":
        FRAME[:2].write_csv(folder / "a.csv")
        FRAME[2:].write_csv(folder / "b.csv")
        return [folder / "a.csv", str(folder / "b.csv")]
    else:
        forms = {
            "polars": FRAME,
            "lazy": FRAME.lazy(),
            "pandas": FRAME.to_pandas(),
            "arrow": FRAME.to_arrow(),
        }
        return forms[kind]
    return folder / f"log.{kind}"


@pytest.mark.parametrize(
    "kind", ["parquet", "csv", "tsv", "jsonl", "glob", "paths", "polars", "lazy", "pandas", "arrow"]
)
def test_every_source_gives_the_same_log(kind: str, tmp_path: Path) -> None:
    log = read_interactions(write(kind, tmp_path), **COLUMNS)
    expected = {
        "user_id": ["u1", "u2", "u1"],
        "item_id": [10, 11, 11],
        "timestamp": [(START + 2) * 10**6, START * 10**6, (START + 1) * 10**6],
        "event_type": ["view", "purchase", "rating"],
        "value": [None, 1.5, 4.0],
        "row": [0, 1, 2],
        "market": ["de", "fr", "de"],
    }
    assert log.frame.to_dict(as_series=False) == expected
    assert log.frame.schema["item_id"] == pl.Int64
    assert log.has_time
    assert (len(log), log.n_users, log.n_items) == (3, 2, 2)


def test_pandas_and_pyarrow_are_not_imported_unasked() -> None:
    code = (
        "import sys, polars as pl; from metarec_sdk.data import read_interactions as r;"
        "r(pl.DataFrame({'user_id': [1], 'item_id': ['a'], 'timestamp': [1700000000]}));"
        "assert not {'pandas', 'pyarrow', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("dtype", ["Int64", "string[pyarrow]", "category", "int32", "uint64"])
def test_pandas_dtypes(dtype: str) -> None:
    frame = pd.DataFrame({"user_id": [2, 1], "item_id": [1, 1], "timestamp": [START, START]})
    if dtype in ("category", "string[pyarrow]"):
        frame["user_id"] = frame["user_id"].astype(str)
    log = read_interactions(frame.astype({"user_id": dtype}))
    assert log.frame["user_id"].to_list() in ([2, 1], ["2", "1"])


def times_of(values: pl.Series, **arguments: Any) -> list[int]:
    frame = pl.DataFrame({"user_id": range(len(values)), "item_id": range(len(values)), "timestamp": values})
    return read_interactions(frame, **arguments).frame["timestamp"].to_list()


MOMENT = datetime(2024, 2, 29, 12, 30, 0, 123456)
EXACT = 1_709_209_800_123_456


@pytest.mark.parametrize(
    ("values", "unit", "expected"),
    [
        (pl.Series([1_709_209_800]), "s", EXACT - 123_456),
        (pl.Series([1_709_209_800_123]), "ms", EXACT - 456),
        (pl.Series([EXACT]), "us", EXACT),
        (pl.Series([EXACT * 1000 + 999]), "ns", EXACT),
        (pl.Series([1_709_209_800], dtype=pl.UInt32), "s", EXACT - 123_456),
        (pl.Series([1_709_209_800.0]), "s", EXACT - 123_456),
        (pl.Series([float(EXACT)]), "us", EXACT),
        (pl.Series([MOMENT]), "s", EXACT),
        (pl.Series([MOMENT]).cast(pl.Datetime("ns")), "s", EXACT),
        (pl.Series([MOMENT]).cast(pl.Datetime("ms")), "s", EXACT - 456),
        (pl.Series([MOMENT]).dt.replace_time_zone("UTC"), "s", EXACT),
        (pl.Series([MOMENT]).dt.replace_time_zone("Europe/Berlin"), "s", EXACT - 3600 * 10**6),
        (pl.Series([MOMENT.date()]), "s", EXACT - 45_000_123_456),
        (pl.Series(["1709209800"]), "s", EXACT - 123_456),
        (pl.Series(["1709209800.0"]), "s", EXACT - 123_456),
        (pl.Series(["2024-02-29T12:30:00.123456"]), "s", EXACT),
        (pl.Series(["2024-02-29 12:30:00.123456+00:00"]), "s", EXACT),
        (pl.Series(["2024-02-29T13:30:00.123456+01:00"]), "s", EXACT),
    ],
)
def test_times_are_exact(values: pl.Series, unit: str, expected: int) -> None:
    assert times_of(values, time_unit=unit) == [expected]


def test_no_float_in_between() -> None:
    # float64 can't tell these nanoseconds apart, float32 not even the seconds of a minute.
    close = [1_709_209_800_000_000_000 + 1000 * i for i in range(50)]
    assert times_of(pl.Series(close), time_unit="ns") == [value // 1000 for value in close]


def test_text_of_nanoseconds_beside_floats_stays_exact() -> None:
    texts = [f"{EXACT * 1000 + 999}", f"{EXACT // 10**6}e9", f"{EXACT * 1000 + 1000}"]
    frame = pl.DataFrame({"user_id": [1, 2, 3], "item_id": [1, 2, 3], "timestamp": texts})
    with pytest.warns(DataWarning):
        log = read_interactions(frame, time_unit="ns", on_invalid="drop")
    assert log.frame["timestamp"].to_list() == [EXACT, EXACT + 1]


def test_without_times_the_rows_are_the_order() -> None:
    log = read_interactions(pl.DataFrame({"user_id": [1, 1], "item_id": [1, 2]}), time=None)
    assert not log.has_time
    assert log.frame["timestamp"].to_list() == [0, 1]


def test_csv_ids_keep_leading_zeros(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"user_id,item_id,timestamp\n007,-7,{START}\n7,12,{START}\n")
    frame = read_interactions(path).frame
    assert frame["user_id"].to_list() == ["007", "7"]
    assert frame["item_id"].to_list() == [-7, 12]


@pytest.mark.parametrize("text", ["+7", "-0", " 7", "7.0", "1e3", "99999999999999999999"])
def test_csv_ids_that_are_no_plain_integers_stay_text(text: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"user_id,item_id,timestamp\n{text},1,{START}\n-8,1,{START}\n")
    assert read_interactions(path).frame["user_id"].to_list() == [text, "-8"]


def test_event_ids_and_default_event() -> None:
    frame = pl.DataFrame({"user_id": [1, 1], "item_id": [1, 1], "timestamp": [START] * 2, "key": [5, 6]})
    log = read_interactions(frame, event_id="key", default_event="play")
    assert log.frame["event_id"].to_list() == ["5", "6"]
    assert log.frame["event_type"].to_list() == ["play", "play"]


def test_filter_concat_describe() -> None:
    log = read_interactions(FRAME, **COLUMNS)
    part = log.filter(pl.col("market") == "de")
    assert part.frame["row"].to_list() == [0, 2]
    both = Interactions.concat([part, log])
    assert both.frame["row"].to_list() == [0, 1, 2, 3, 4]
    assert both.frame["item_id"].to_list() == [10, 11, 10, 11, 11]
    summary = log.describe()
    assert summary["events"] == 3
    assert summary["density"] == pytest.approx(3 / 4)
    assert summary["event_types"] == {"purchase": 1, "rating": 1, "view": 1}
    assert summary["first"] == "2023-11-14T22:13:20+00:00"
    assert log.in_order()["row"].to_list() == [1, 2, 0]
    with pytest.raises(ColumnError, match="different dtypes"):
        Interactions.concat([log, log.replaced(log.frame.with_columns(user_id=pl.lit(1, pl.Int64)))])
    with pytest.raises(ArgumentError, match="at least one"):
        Interactions.concat([])


def test_a_log_checks_its_columns() -> None:
    log = read_interactions(FRAME, **COLUMNS)
    with pytest.raises(ColumnError, match="missing"):
        Interactions(log.frame.drop("row"))
    with pytest.raises(ColumnError, match="timestamp"):
        Interactions(log.frame.with_columns(pl.col("timestamp").cast(pl.Float64)))
    with pytest.raises(ColumnError, match="user_id"):
        Interactions(log.frame.with_columns(pl.lit(1.0).alias("user_id")))
    with pytest.raises(DataError, match="item_id"):
        Interactions(log.frame.with_columns(pl.lit(None, pl.Int64).alias("item_id")))


@pytest.mark.parametrize("folder", ["a.parquet", "b.json"])
def test_the_ending_counts_not_the_folder(folder: str, tmp_path: Path) -> None:
    path = tmp_path / folder / "log.CSV"
    path.parent.mkdir()
    path.write_text(f"user_id,item_id,timestamp\n7,01,{START}\n")
    frame = read_interactions(path).frame
    assert frame["user_id"].to_list() == [7]
    assert frame["item_id"].to_list() == ["01"]


def test_compressed_csv(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(f"user_id,item_id,timestamp\n7,1,{START}\n".encode()))
    assert read_interactions(path).frame["user_id"].to_list() == [7]
