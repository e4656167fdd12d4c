"""A hard rule: at most so many items of one value in a list."""

from __future__ import annotations

import numpy as np
import polars as pl

from metarec_sdk.errors import ArgumentError, ColumnError, NotFittedError
from metarec_sdk.types import Bool, Histories, Int64, TopK


class Quota:
    """Forbids what would be item number ``at_most + 1`` of one value of a column of the items' table.

    Of a list (genres) the first value counts. Items without a value are never forbidden.
    """

    def __init__(self, *, column: str = "category", at_most: int = 2) -> None:
        """column: of the items' table. at_most: ≥ 0, items of one value in a list; 0 forbids all of them."""
        if at_most < 0:
            raise ArgumentError(f"at_most must be ≥ 0, got {at_most}")
        self.column = column
        self.at_most = at_most
        self._codes: Int64 | None = None

    def fit(self, items: pl.DataFrame, vectors: object) -> None:
        """Look each item's value up; raises `ColumnError` where the items' table lacks the column."""
        if self.column not in items.columns:
            raise ColumnError.missing(self.column, "column", items.columns)
        values = items[self.column]
        if isinstance(values.dtype, pl.List):
            values = values.list.first()
        ranks = values.cast(pl.String).rank("dense")
        self._codes = ranks.cast(pl.Int64).fill_null(0).to_numpy()  # 0: no value

    def forbidden(self, histories: Histories, candidates: TopK) -> Bool:
        """bool[o], true from the (at_most + 1)-th candidate of a value on, counted within each list."""
        if self._codes is None:
            raise NotFittedError("quota isn't fitted; call fit(items, vectors) first")
        codes = self._codes[candidates.items]
        rows = np.repeat(np.arange(len(candidates)), np.diff(candidates.offsets))
        group = rows * (int(self._codes.max(initial=0)) + 1) + codes
        order = np.argsort(group, kind="stable")
        ordered = group[order]
        first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(group) else order
        place = np.arange(len(group)) - np.repeat(first, np.diff(np.append(first, len(group))))
        number = np.empty(len(group), np.int64)  # how many of the value come before it in its list
        number[order] = place
        return np.asarray((number >= self.at_most) & (codes > 0))
