"""The built-in content encoder: categories and numbers of the items' table."""

from __future__ import annotations

import numpy as np
import polars as pl

from metarec_sdk.types import Float32


class TableContent:
    """One column for each category value and each number.

    Lists and texts with few distinct values become one column a value; numbers are standardised; other texts
    (titles, descriptions) need an encoder of their own and are left out.
    """

    def __init__(self, *, max_values: int = 2_000) -> None:
        """max_values: distinct values above which a column isn't taken for categories."""
        self.max_values = max_values

    def encode(self, items: pl.DataFrame) -> Float32:
        """f32[n, c], see `metarec_sdk.protocols.ContentEncoder`; c = 1 and all 0 where nothing is usable."""
        columns = []
        for name in items.columns:
            dtype = items.schema[name]
            if name == "item_id":
                continue
            if dtype == pl.String or isinstance(dtype, pl.List):
                columns.append(self._indicators(items[name]))
            elif dtype.is_numeric():
                columns.append(_standardised(items[name]))
        if not columns:
            return np.zeros((items.height, 1), np.float32)
        return np.concatenate(columns, axis=1)

    def _indicators(self, column: pl.Series) -> Float32:
        pairs = pl.DataFrame({"row": np.arange(len(column)), "value": column})
        if isinstance(column.dtype, pl.List):
            pairs = pairs.explode("value")
        pairs = pairs.drop_nulls().unique()
        values = pairs["value"].unique().sort()
        if len(values) > min(self.max_values, max(2, pairs["row"].n_unique() // 2)):
            return np.zeros((len(column), 0), np.float32)
        found = np.zeros((len(column), len(values)), np.float32)
        if len(values):
            found[pairs["row"].to_numpy(), values.search_sorted(pairs["value"]).to_numpy()] = 1.0
        return found


def _standardised(column: pl.Series) -> Float32:
    """f32[n, 1]; null, NaN and infinity are "not known", which is the mean."""
    numbers = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = np.isfinite(numbers)
    if not known.any():
        return np.zeros((len(numbers), 1), np.float32)
    mean, spread = numbers[known].mean(), numbers[known].std()
    scaled = np.where(known, (numbers - mean) / (spread if spread > 0 else 1.0), 0.0)
    return np.ascontiguousarray(scaled[:, None], np.float32)
