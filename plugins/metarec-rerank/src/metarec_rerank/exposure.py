"""A fair share of every prefix of the list to every group of items.

DetGreedy of Geyik, Ambler & Kenthapadi, KDD 2019, "Fairness-Aware Ranking in Search & Recommendation Systems"
(algorithm 1): with p_g the share that group g should have, position j takes the best candidate of the groups
that would have fewer than ``⌊p_g j⌋`` items; where there is no such group, the best one of those that have
fewer than ``⌈p_g j⌉``. Each prefix so holds about the wanted shares, and exposure, which falls with the
position, is shared out as well as the items are. With up to three groups no minimum is ever missed while
candidates last; with more one may be, by one item (theorem 1 there).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from metarec_rerank.catalogue import column_of, each_list
from metarec_sdk.errors import ArgumentError, NotFittedError
from metarec_sdk.types import Float32, Float64, Histories, Int64, TopK


class Exposure:
    """Groups are the values of a column of the items' table; items without one form a group as well."""

    def __init__(self, *, column: str = "provider", shares: Mapping[str, float] | None = None) -> None:
        """column: of the items' table. shares: of the groups by value, ≥ 0; groups that aren't named get
        nothing as of right, but may fill what is left. None: the groups' shares of the catalogue.

        Raises `ArgumentError` for a negative share and where they add up to more than 1.
        """
        given = dict(shares or {})
        if any(not value >= 0 for value in given.values()) or sum(given.values()) > 1 + 1e-9:
            raise ArgumentError(f"shares must be ≥ 0 and add up to at most 1, got {given}")
        self.column = column
        self.shares = None if shares is None else given
        self._group: Int64 | None = None
        self._wanted: Float64 = np.zeros(0)

    def fit(self, items: pl.DataFrame, vectors: Float32) -> None:
        """Look the groups up; raises `ColumnError` where the items' table lacks the column, `ArgumentError`
        where a share is given to a value that no item has."""
        values = column_of(items, self.column).cast(pl.String)
        names = values.unique().drop_nulls().sort().to_list()
        place = {name: number for number, name in enumerate(names)}
        group = np.array([place.get(value, len(names)) for value in values], np.int64)
        if self.shares is None:
            wanted = np.bincount(group, minlength=len(names) + 1) / max(len(group), 1)
        else:
            if unknown := sorted(set(self.shares) - set(names)):
                raise ArgumentError(f"column {self.column!r} has no {unknown}; its values are {names}")
            wanted = np.array([self.shares.get(name, 0.0) for name in names] + [0.0])
        self._group, self._wanted = group, wanted

    def rescore(self, histories: Histories, candidates: TopK, k: int) -> Float32:
        """f32[o], falling in the order of taking; -inf for a candidate that isn't among the k taken."""
        if self._group is None:
            raise NotFittedError("rerank/exposure isn't fitted; call fit(items, vectors) first")
        group = self._group

        def order(items: Int64, scores: Float32, row: int) -> Int64:
            own, counts = group[items], np.zeros(len(self._wanted), np.int64)
            best_first = np.argsort(-scores, kind="stable")
            left, taken = np.ones(len(items), bool), []
            for place in range(1, min(k, len(items)) + 1):
                # A share such as 0.3 times 10 must not fall to 2 by rounding.
                short = counts < np.floor(self._wanted * place + 1e-9)
                below = counts < np.ceil(self._wanted * place - 1e-9)
                chosen = left
                for groups in (short, below):
                    if (left & groups[own]).any():
                        chosen = left & groups[own]
                        break
                best = int(best_first[np.argmax(chosen[best_first])])
                taken.append(best)
                left[best] = False
                counts[own[best]] += 1
            return np.array(taken, np.int64)

        return each_list(candidates, order)
