"""What rerankers look up of the items' table, and how they take candidates one after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from metarec_sdk.errors import ColumnError
from metarec_sdk.types import Float32, Float64, Int64, TopK


def column_of(items: pl.DataFrame, name: str) -> pl.Series:
    """The column; raises `ColumnError` that names those there are."""
    if name not in items.columns:
        raise ColumnError.missing(name, "column", items.columns)
    return items[name]


def listed(items: pl.DataFrame, name: str) -> pl.DataFrame:
    """(item i64, value str) of a column of values or of lists of values, each pair once."""
    values = column_of(items, name)
    frame = pl.DataFrame({"item": np.arange(len(items), dtype=np.int64), "value": values})
    if isinstance(values.dtype, pl.List):
        frame = frame.explode("value")
    return frame.with_columns(pl.col("value").cast(pl.String)).drop_nulls().unique(maintain_order=True)


def incidence(items: pl.DataFrame, name: str) -> Float64:
    """f64[n, v], 1 where the item has the value; the v values in ascending order."""
    pairs = listed(items, name)
    codes = pairs["value"].rank("dense").cast(pl.Int64).to_numpy() - 1
    table = np.zeros((len(items), int(codes.max(initial=-1)) + 1))
    table[pairs["item"].to_numpy(), codes] = 1.0
    return table


def scaled(scores: Float32) -> Float64:
    """f64[c], the scores of one list on a scale from 0 to 1; 0 where all are equal."""
    values = scores.astype(np.float64)
    return (values - values.min()) / max(float(values.max() - values.min()), 1e-12)


def each_list(candidates: TopK, order: Callable[[Int64, Float32, int], Int64]) -> Float32:
    """f32[o], scores that put each list into the order that ``order`` finds.

    ``order(items i64[c], scores f32[c], row)`` gives places i64[taken] as they are taken. Scores fall from
    1 by equal steps; -inf for what isn't taken.
    """
    found = np.full(len(candidates.items), -np.inf, np.float32)
    for row, (start, stop) in enumerate(zip(candidates.offsets[:-1], candidates.offsets[1:])):
        if stop > start:
            taken = order(candidates.items[start:stop], candidates.scores[start:stop], row)
            found[start + taken] = 1.0 - np.arange(len(taken)) / max(len(taken), 1)
    return found
