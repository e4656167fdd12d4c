"""As much of each genre in the list as in the history: calibrated recommendations (Steck, RecSys 2018).

With p(g|u) the history's shares of the values g (each event counts by its weight, each of an item's values
equally) and q(g) those of the list, ``(1 − λ) Σ relevance − λ k KL(p ‖ 0.99 q + 0.01 p)`` is raised greedily
(equations 2 to 7; the factor k keeps the two terms of one size for any length of list). A history without
any value keeps the order.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from metarec_rerank.catalogue import each_list, incidence, scaled
from metarec_sdk.errors import ArgumentError, NotFittedError
from metarec_sdk.types import Float32, Float64, Histories, Int64, TopK

_SMOOTHING = 0.01


class Calibrated:
    """Takes, one after the other, the candidate that raises the calibrated value of the list most."""

    def __init__(self, *, column: str = "genres", calibration: float = 0.5) -> None:
        """column: of the items' table, values or lists of values. calibration: λ from 0 to 1."""
        if not 0.0 <= calibration <= 1.0:
            raise ArgumentError(f"calibration must be from 0 to 1, got {calibration}")
        self.column = column
        self.calibration = calibration
        self._shares: Float64 | None = None

    def fit(self, items: pl.DataFrame, vectors: Float32) -> None:
        """Look the values up; raises `ColumnError` where the items' table lacks the column."""
        values = incidence(items, self.column)
        self._shares = values / np.maximum(values.sum(1, keepdims=True), 1)  # p(g|i)

    def rescore(self, histories: Histories, candidates: TopK, k: int) -> Float32:
        """f32[o], falling in the order of taking; -inf for a candidate that isn't among the k taken."""
        if self._shares is None:
            raise NotFittedError("rerank/calibrated isn't fitted; call fit(items, vectors) first")
        shares = self._shares

        def order(items: Int64, scores: Float32, row: int) -> Int64:
            part = slice(histories.offsets[row], histories.offsets[row + 1])
            wanted = histories.weights[part].astype(np.float64) @ shares[histories.items[part]]  # [v]
            relevance = (1 - self.calibration) * scaled(scores)
            if not wanted.sum() > 0:
                return np.argsort(-relevance, kind="stable")[:k]
            wanted = wanted / wanted.sum()
            own, total = shares[items], np.zeros(shares.shape[1])
            left, taken = np.ones(len(items), bool), []
            for place in range(min(k, len(items))):
                away = divergence(wanted, (total + own) / (place + 1))  # [c], with each one added
                value = relevance - self.calibration * away * k
                best = int(np.argmax(np.where(left, value, -np.inf)))
                taken.append(best)
                left[best] = False
                total += own[best]
            return np.array(taken, np.int64)

        return each_list(candidates, order)


def divergence(wanted: Float64, shares: Float64) -> Float64:
    """KL(p ‖ 0.99 q + 0.01 p) in nats, f64[c], of p f64[v] from each q in f64[c, v]."""
    mixed = (1 - _SMOOTHING) * shares + _SMOOTHING * wanted
    known = wanted > 0
    return np.sum(wanted[known] * np.log(wanted[known] / mixed[:, known]), axis=1)
