"""Reading and preparing a log, against the same work in pandas.

    python benches/prepare_against_pandas.py [--repeats 9] [--limit-threads 1]

All sides start from the same file and end with the same histories, which is asserted: items by user, then
time, then row, and the times; all refuse null ids and values that aren't finite. With ``clean`` duplicate
rows go, and users and items with fewer than 5 events, in turns.

``straightforward`` is what people write: datetimes, categories, a list of items for each user. ``vectorised``
is pandas with the care of somebody who knows NumPy, who ends with flat arrays as we do.

The log is ml-1m where ``METAREC_DATA`` (or the default folder) has it, else ten copies of MovieLens 100k with
users and times shifted. Runs alternate in one process; the figures are ratios of medians. One row goes to
``benches/results/prepare_against_pandas.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "prepare_against_pandas.jsonl"
CORE = 5
"""Fewest events of a user and of an item."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--limit-threads", type=int, default=None, help="threads for polars and pyarrow")
    return parser.parse_args()


ARGUMENTS = parse()
if ARGUMENTS.limit_threads:
    # Both libraries size their pools when they are imported.
    os.environ["POLARS_MAX_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(ARGUMENTS.limit_threads)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import polars as pl  # noqa: E402
import pyarrow  # noqa: E402

from metarec_sdk.data import clean, datasets, encode, read_interactions  # noqa: E402

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def source_frame() -> tuple[str, pl.DataFrame]:
    """About a million ratings with the columns user_id, item_id, rating, timestamp (seconds)."""
    columns = ["user_id", "item_id", "timestamp", "value"]
    if "ml-1m" in datasets.available():
        name, frame = "ml-1m", datasets.load("ml-1m").interactions.frame.select(columns)
    else:
        one = datasets.load("movielens-100k").interactions.frame.select(columns)
        copies = [one.with_columns(pl.col("user_id") + 1000 * i, pl.col("timestamp") + i) for i in range(10)]
        name, frame = "movielens-100k x 10", pl.concat(copies)
    frame = frame.with_columns(pl.col("timestamp") // 1_000_000).rename({"value": "rating"})
    # Logs come by time, not by user.
    return name, frame.sort("timestamp", maintain_order=True)


def ours(path: Path, cleaning: bool) -> Arrays:
    log = read_interactions(path, value="rating", default_event="rating")
    if cleaning:
        log, _ = clean(log, duplicates=True, min_user_events=CORE, min_item_events=CORE)
    histories = encode(log)[0].histories
    return histories.items, histories.offsets, histories.timestamps


def checked(path: Path) -> pd.DataFrame:
    """The file in pandas, refused where it holds nulls or values that aren't finite."""
    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    if frame[["user_id", "item_id", "timestamp"]].isna().any().any():
        raise ValueError("null ids or times")
    if not np.isfinite(frame["rating"].dropna()).all():
        raise ValueError("ratings must be finite")
    return frame


def straightforward(path: Path, cleaning: bool) -> tuple[pd.Series, pd.Series]:
    """Lists of items, one a user, and the times in the same order."""
    frame = checked(path)
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s")
    if cleaning:
        frame = frame.drop_duplicates(["user_id", "item_id", "timestamp", "rating"])
        before = -1
        while len(frame) != before:
            before = len(frame)
            for column in ("user_id", "item_id"):
                counts = frame[column].value_counts()
                frame = frame[frame[column].isin(counts[counts >= CORE].index)]
    frame["user"] = frame["user_id"].astype("category").cat.codes
    frame["item"] = frame["item_id"].astype("category").cat.codes
    frame = frame.sort_values(["user", "timestamp"], kind="stable")
    return frame.groupby("user")["item"].agg(list), frame["timestamp"]


def vectorised(path: Path, cleaning: bool) -> Arrays:
    """Flat arrays, no list and no datetime on the way."""
    frame = checked(path)
    frame["timestamp"] = frame["timestamp"].astype("int64") * 1_000_000
    if cleaning:
        frame = frame.drop_duplicates(["user_id", "item_id", "timestamp", "rating"])
        before = -1
        while len(frame) != before:
            before = len(frame)
            for column in ("user_id", "item_id"):
                frame = frame[frame.groupby(column)["rating"].transform("size") >= CORE]
    frame["user"], _ = pd.factorize(frame["user_id"], sort=True)
    frame["item"], _ = pd.factorize(frame["item_id"], sort=True)
    frame = frame.sort_values(["user", "timestamp"], kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(frame["user"]))]).astype(np.int64)
    return frame["item"].to_numpy(np.int32), offsets, frame["timestamp"].to_numpy(np.int64)


def assert_same(path: Path, cleaning: bool) -> None:
    """All three give the same histories."""
    items, offsets, times = ours(path, cleaning)
    for mine, theirs in zip((items, offsets, times), vectorised(path, cleaning)):
        np.testing.assert_array_equal(mine, theirs)
    item_lists, all_times = straightforward(path, cleaning)
    np.testing.assert_array_equal(offsets, np.cumsum([0, *map(len, item_lists)]))
    np.testing.assert_array_equal(items, np.concatenate(item_lists.to_list()))
    np.testing.assert_array_equal(times, pd.DatetimeIndex(all_times).as_unit("us").asi8)


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(path: Path, cleaning: bool, repeats: int) -> dict[str, float]:
    """Medians of alternating runs, after a run of each that is checked and not timed."""
    assert_same(path, cleaning)
    sides = {"ours": ours, "straightforward": straightforward, "vectorised": vectorised}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, work in sides.items():
            times[name].append(seconds(partial(work, path, cleaning)))
    medians = {name: statistics.median(values) for name, values in times.items()}
    row = {f"{name}_s": round(value, 4) for name, value in medians.items()}
    for name in ("straightforward", "vectorised"):
        row[f"ratio_{name}"] = round(medians[name] / medians["ours"], 2)
    return row


def main() -> None:
    if ARGUMENTS.limit_threads:
        pyarrow.set_cpu_count(ARGUMENTS.limit_threads)
    name, frame = source_frame()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {"ids.parquet": frame, "ids.csv": frame}
        texts = frame.with_columns(
            pl.format("user-{}", "user_id").alias("user_id"), pl.format("item-{}", "item_id").alias("item_id")
        )
        files["texts.parquet"] = texts
        for file, table in files.items():
            path = Path(folder) / file
            table.write_csv(path) if path.suffix == ".csv" else table.write_parquet(path)
            for task, cleaning in (("read+encode", False), ("read+clean+encode", True)):
                rows[f"{file} {task}"] = compare(path, cleaning, ARGUMENTS.repeats)
                print(f"{file:15} {task:18} {rows[f'{file} {task}']}", file=sys.stderr)
    result = {
        "data": name,
        "events": frame.height,
        "repeats": ARGUMENTS.repeats,
        "threads": ARGUMENTS.limit_threads or os.cpu_count(),
        "rows": rows,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"polars": pl.__version__, "pandas": pd.__version__, "pyarrow": pyarrow.__version__},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(result) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
