"""Rows that repeat an earlier one."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

# Odd constants of the splitmix64 family; any odd numbers with mixed bits would do.
_MULTIPLIERS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def repeated_rows(frame: pl.DataFrame, key: list[str]) -> pl.Series:
    """Boolean, true for rows whose key columns equal those of a row with a lower ``row``; null equals null.

    Almost all rows are told apart by a 64-bit hash of their integer and text columns; only those that share
    one are compared, so that a log without duplicates costs one sort of integers.
    """
    marks = _marks(frame, key)
    again = np.zeros(frame.height, bool)
    ordered = np.sort(marks)
    shared = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if len(shared):
        candidates = np.flatnonzero(shared[np.searchsorted(shared, marks).clip(max=len(shared) - 1)] == marks)
        compared = frame.select("row", *key)[candidates].with_columns(_place=pl.Series(candidates))
        repeats = compared.sort("row").filter(~pl.struct(key).is_first_distinct())
        again[repeats["_place"].to_numpy()] = True
    return pl.Series("repeats", again)


def _marks(frame: pl.DataFrame, key: list[str]) -> NDArray[np.uint64]:
    """u64[rows], equal for rows with equal user, item and time; floats and event types are left out."""
    marks = np.zeros(frame.height, np.uint64)
    hashed = [name for name in key if name in ("user_id", "item_id", "timestamp")]
    for name, multiplier in zip(hashed, _MULTIPLIERS):
        column = frame[name]
        bits = column.hash().to_numpy() if column.dtype == pl.String else column.to_numpy().view(np.uint64)
        marks ^= bits * np.uint64(multiplier)  # wraps round
        marks ^= marks >> np.uint64(29)
    return marks
