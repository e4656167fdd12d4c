"""Newer items further up: relevance, less what an item has lost of its newness."""

from __future__ import annotations

import numpy as np
import polars as pl

from metarec_rerank.catalogue import column_of
from metarec_sdk.errors import ArgumentError, ColumnError, NotFittedError
from metarec_sdk.types import Float32, Float64, Histories, TopK


class Freshness:
    """New score: ``(1 − λ)·relevance + λ·2^(−age / half-life)``, relevance scaled to 0 … 1 in its list.

    Age is counted from the newest item of the catalogue. An item without a date has no newness.
    """

    def __init__(
        self, *, column: str = "released", half_life_days: float = 30.0, freshness: float = 0.3
    ) -> None:
        """column: of the items' table, dates or datetimes, or numbers in days. half_life_days: after which
        half of the newness is gone. freshness: λ from 0 to 1.

        Raises `ArgumentError` for a number out of range.
        """
        if not 0.0 <= freshness <= 1.0 or not 0 < half_life_days < np.inf:
            raise ArgumentError(
                f"freshness must be from 0 to 1 and half_life_days > 0, got {freshness} and {half_life_days}"
            )
        self.column = column
        self.half_life_days = half_life_days
        self.freshness = freshness
        self._newness: Float64 | None = None

    def fit(self, items: pl.DataFrame, vectors: Float32) -> None:
        """Look the dates up; raises `ColumnError` where the column is missing or neither time nor number."""
        dates = column_of(items, self.column)
        if dates.dtype.is_temporal() and dates.dtype not in (pl.Time, pl.Duration):
            days = dates.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64) / 86_400_000_000
        elif dates.dtype.is_numeric() or dates.dtype == pl.Null:
            days = dates.cast(pl.Float64)
        else:
            raise ColumnError(f"column {self.column!r} is {dates.dtype}, wanted dates or numbers of days")
        known = days.to_numpy()  # NaN where null
        newest = np.nanmax(known) if np.isfinite(known).any() else 0.0
        self._newness = np.nan_to_num(np.exp2(-(newest - known) / self.half_life_days))

    def rescore(self, histories: Histories, candidates: TopK, k: int) -> Float32:
        """f32[o], the new score of each candidate."""
        if self._newness is None:
            raise NotFittedError("rerank/freshness isn't fitted; call fit(items, vectors) first")
        scores = candidates.scores.astype(np.float64)
        filled = np.diff(candidates.offsets) > 0
        starts = candidates.offsets[:-1][filled]
        rows = np.repeat(np.arange(len(starts)), np.diff(candidates.offsets)[filled])
        if not len(scores):
            return candidates.scores.copy()
        low, high = np.minimum.reduceat(scores, starts), np.maximum.reduceat(scores, starts)
        relevance = (scores - low[rows]) / np.maximum(high - low, 1e-12)[rows]
        newness = self._newness[candidates.items]
        return ((1 - self.freshness) * relevance + self.freshness * newness).astype(np.float32)
