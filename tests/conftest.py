"""A small, real-shaped log for the examples in the docs: four markets of people with tastes of their own."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from metarec_sdk.testing.samples import world


@pytest.fixture(scope="session")
def events() -> pl.DataFrame:
    """240 users u1 … with 12 to 30 events on items i1 … i60; tastes come in groups of 15 items."""
    rng = np.random.default_rng(3)
    rows = []
    for user in range(1, 241):
        group, length = user % 4, int(rng.integers(12, 30))
        own = rng.choice(15, min(length, 12), replace=False) + 15 * group
        other = rng.choice(60, length, replace=False)
        items = list(dict.fromkeys([*own, *other]))[:length]
        start = 1_700_000_000 + int(rng.integers(0, 50 * 86_400))
        for step, item in enumerate(rng.permutation(items)):
            kind = ("view", "click", "purchase")[int(rng.integers(3))]
            rows.append((f"u{user}", f"i{item + 1}", start + 3600 * step, kind, f"market-{group}"))
    return pl.DataFrame(rows, schema=["user_id", "item_id", "ts", "type", "market"], orient="row")


@pytest.fixture
def workplace(tmp_path: Path, events: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run examples in, with the files that they read."""
    events.write_parquet(tmp_path / "events.parquet")
    events.head(20).write_csv(tmp_path / "new_events.csv")
    numbers = range(1, 61)
    titles = [f"thing {item % 15} of group {(item - 1) // 15}" for item in numbers]
    items = pl.DataFrame({"item_id": [f"i{item}" for item in numbers], "title": titles})
    items.write_parquet(tmp_path / "items.parquet")
    shop = world().events.drop("row", "value")  # purchases that follow clicks
    shop.with_columns(pl.col("timestamp").cast(pl.Datetime("us"))).write_parquet(tmp_path / "shop.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path
