"""Between the items of a whole log and the items that one ranker knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from metarec_sdk.data import Interactions, Vocabulary
from metarec_sdk.evaluation.cases import known_only, relabelled
from metarec_sdk.evaluation.metrics import popularity_strata
from metarec_sdk.types import Histories, Int32, Int64, TopK


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The items seen in training, or those of them that are ranked: what everything is judged on."""

    items: Vocabulary
    """All items of the log, N of them; histories of cases are over these."""
    strata: Int64
    """i64[N], popularity stratum of each item; -1 for items outside the catalogue."""
    size: int
    """Items in the catalogue."""

    @classmethod
    def of(cls, train: Interactions, items: Vocabulary, ranked: pl.Series | None = None) -> Catalogue:
        """The catalogue of a training log, or the part of it that is ranked; popularity counts users, not
        events."""
        pairs = train.frame.select("user_id", "item_id").unique()
        if ranked is not None:
            pairs = pairs.filter(pl.col("item_id").is_in(ranked.implode()))
        counts = np.bincount(items.encode(pairs["item_id"]), minlength=len(items))
        inside = counts > 0
        strata = np.full(len(items), -1, np.int64)
        strata[inside] = popularity_strata(counts[inside])
        return cls(items, strata, int(inside.sum()))


@dataclass(frozen=True, slots=True)
class Translation:
    """The two ways between the log's items and a ranker's."""

    inward: Int32
    """i32[N], the ranker's index of each item of the log, -1 where it doesn't know it."""
    outward: Int32
    """i32[n], the log's index of each item of the ranker, -1 for items outside the catalogue."""

    @classmethod
    def between(cls, catalogue: Catalogue, known: Vocabulary) -> Translation:
        """Match two vocabularies by id."""
        outward = catalogue.items.encode(known.ids)
        padded = np.append(catalogue.strata, -1)
        return cls(
            known.encode(catalogue.items.ids), np.where(padded[outward] >= 0, outward, -1).astype(np.int32)
        )

    def support(self, histories: Histories) -> Histories:
        """What a ranker is given: its own indices, without items that it doesn't know."""
        return known_only(relabelled(histories, self.inward))

    def lists(self, lists: TopK) -> TopK:
        """What a ranker gave, in the log's indices, without items outside the catalogue."""
        items = self.outward[lists.items]
        inside = items >= 0
        kept = np.concatenate([[0], np.cumsum(inside)]).astype(np.int64)
        return TopK(kept[lists.offsets], items[inside].astype(np.int64), lists.scores[inside])
