"""Small logs to evaluate on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from metarec_sdk.data import Interactions


def log_of(rows: list[tuple[Any, Any, int]], has_time: bool = True) -> Interactions:
    """A log of (user, item, time) rows."""
    users, items, times = zip(*rows)
    row = np.arange(len(rows))
    frame = pl.DataFrame(
        {
            "user_id": list(users),
            "item_id": list(items),
            "timestamp": np.array(times if has_time else row, np.int64),
            "event_type": ["view"] * len(rows),
            "value": pl.Series([None] * len(rows), dtype=pl.Float64),
            "row": row.astype(np.int64),
        }
    )
    return Interactions(frame, has_time)


@pytest.fixture(scope="session")
def tastes() -> Interactions:
    """160 users of three tastes who come one after the other, 60 items, some of them new near the end."""
    rng = np.random.default_rng(11)
    rows = []
    for user in range(160):
        taste = rng.integers(3)
        weight = np.where(np.arange(60) % 3 == taste, 8.0, 1.0) / (1 + np.arange(60) // 3)
        weight[57:] = 0.3 if user > 140 else 0.0
        chosen = rng.choice(60, size=rng.integers(12, 20), replace=False, p=weight / weight.sum())
        start = user * 1_000_000
        rows += [(f"u{user:03}", f"i{item:02}", start + place * 150_000) for place, item in enumerate(chosen)]
    return log_of(rows)


@pytest.fixture(scope="session")
def make_log() -> Callable[..., Interactions]:
    """`log_of`, for tests that write their own rows."""
    return log_of
