"""Items unlike those above them: maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998).

The built-in ``mmr`` compares items by the vectors of the stack; this one by the values of a column that
people see, such as genres or brands, with the Jaccard similarity.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from metarec_rerank.catalogue import each_list, incidence, scaled
from metarec_sdk.errors import ArgumentError, NotFittedError
from metarec_sdk.types import Float32, Float64, Histories, Int64, TopK


class MMR:
    """Takes, one after the other, the candidate with the best ``λ·relevance − (1 − λ)·similarity``.

    Relevance is the score scaled to 0 … 1 within the list, similarity the largest one with an item taken
    before. λ = 1 leaves the order as it is.
    """

    def __init__(self, *, column: str = "genres", relevance: float = 0.7) -> None:
        """column: of the items' table, values or lists of values. relevance: λ from 0 to 1."""
        if not 0.0 <= relevance <= 1.0:
            raise ArgumentError(f"relevance must be from 0 to 1, got {relevance}")
        self.column = column
        self.relevance = relevance
        self._values: Float64 | None = None

    def fit(self, items: pl.DataFrame, vectors: Float32) -> None:
        """Look the values up; raises `ColumnError` where the items' table lacks the column."""
        self._values = incidence(items, self.column)

    def rescore(self, histories: Histories, candidates: TopK, k: int) -> Float32:
        """f32[o], falling in the order of taking; -inf for a candidate that isn't among the k taken."""
        if self._values is None:
            raise NotFittedError("rerank/mmr isn't fitted; call fit(items, vectors) first")
        values = self._values

        def order(items: Int64, scores: Float32, row: int) -> Int64:
            own, gain = values[items], self.relevance * scaled(scores)  # [c, v], [c]
            size, closest = own.sum(1), np.zeros(len(items))
            left, taken = np.ones(len(items), bool), []
            for _ in range(min(k, len(items))):
                best = int(np.argmax(np.where(left, gain - (1 - self.relevance) * closest, -np.inf)))
                taken.append(best)
                left[best] = False
                shared = own @ own[best]
                closest = np.maximum(closest, shared / np.maximum(size + size[best] - shared, 1))
            return np.array(taken, np.int64)

        return each_list(candidates, order)
