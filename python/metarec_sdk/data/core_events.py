"""The k-core of a log: what is left when rare users and items have gone, in turns."""

from __future__ import annotations

import numpy as np
import polars as pl

from metarec_sdk.data.vocabulary import Vocabulary
from metarec_sdk.types import Bool, Int32


def core(users: pl.Series, items: pl.Series, min_user: int, min_item: int) -> Bool:
    """bool[e], the largest set of events in which every user has ``min_user`` and every item ``min_item``."""
    index = (_index(users), _index(items))
    counts = [np.bincount(one) for one in index]
    least = (min_user, min_item)
    kept = np.ones(len(users), bool)
    while True:
        removed_any = False
        for side in (0, 1):
            rare = counts[side] < least[side]
            if not rare[counts[side] > 0].any():
                continue
            removed = np.flatnonzero(kept & rare[index[side]])
            kept[removed] = False
            for one, count in zip(index, counts):
                count -= np.bincount(one[removed], minlength=len(count))
            removed_any = True
        if not removed_any:
            return kept


def _index(ids: pl.Series) -> Int32:
    return Vocabulary.from_ids(ids).encode(ids)
