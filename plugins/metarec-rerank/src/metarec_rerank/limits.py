"""A hard rule: at most so many items of a value, and values that are never shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from metarec_rerank.catalogue import incidence, listed
from metarec_sdk.errors import ArgumentError, NotFittedError
from metarec_sdk.types import Bool, Float32, Float64, Histories, TopK


class Limits:
    """Forbids items of blocked values, and what would be one item too many of any value of a limited column.

    Where the built-in ``quota`` counts the first value of one column, this counts every value of several: a
    comedy that is a romance uses up both. Only upper limits: they hold for every part of an allowed list, so
    the SDK can check them again after any reranker.
    """

    def __init__(
        self,
        *,
        at_most: Mapping[str, int] | None = None,
        blocked: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """at_most: by column of the items' table, items of one value in a list, ≥ 1. blocked: by column,
        the values whose items are never shown.

        Raises `ArgumentError` for a limit below 1.
        """
        for column, number in (at_most or {}).items():
            if number < 1:
                raise ArgumentError(f"at_most[{column!r}] must be ≥ 1, got {number}; `blocked` shows none")
        self.at_most = dict(at_most or {})
        self.blocked = {column: list(values) for column, values in (blocked or {}).items()}
        self._values: Float64 | None = None
        self._limits: Float64 = np.zeros(0)
        self._never: Bool = np.zeros(0, bool)

    def fit(self, items: pl.DataFrame, vectors: Float32) -> None:
        """Look the values up; raises `ColumnError` where the items' table lacks a column."""
        tables = [incidence(items, column) for column in self.at_most]
        self._limits = np.concatenate(
            [np.zeros(0), *(np.full(t.shape[1], n) for t, n in zip(tables, self.at_most.values()))]
        )
        self._values = np.concatenate([np.zeros((len(items), 0)), *tables], axis=1)  # [n, v]
        self._never = np.zeros(len(items), bool)
        for column, values in self.blocked.items():
            hit = listed(items, column).filter(pl.col("value").is_in([str(value) for value in values]))
            self._never[hit["item"].to_numpy()] = True

    def forbidden(self, histories: Histories, candidates: TopK) -> Bool:
        """bool[o]; what stays of each list, best first, keeps every limit."""
        if self._values is None:
            raise NotFittedError("rerank/limits isn't fitted; call fit(items, vectors) first")
        found = self._never[candidates.items]
        if not len(self._limits):
            return found
        for start, stop in zip(candidates.offsets[:-1], candidates.offsets[1:]):
            counts = np.zeros(len(self._limits))
            for place in range(start, stop):
                values = self._values[candidates.items[place]]
                if not found[place] and (counts + values <= self._limits).all():
                    counts += values
                else:
                    found[place] = True
        return found
