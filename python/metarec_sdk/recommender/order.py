"""Whether the order of a user's events means anything: time, or nothing.

Where it means nothing the members learn from each history in random order. That matters most where a table
without times happens to be sorted, by item for example: its "next" event is easy to predict, and none of
that is left when people come in an order of their own.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from metarec_sdk.data import Interactions, encode, first_visits
from metarec_sdk.types import Histories

Order = Literal["time", "none"]


def order_of(log: Interactions, stated: Literal["auto", "time", "none"]) -> tuple[Order, str]:
    """(the order, why in plain words). ``auto`` believes times; rows without times are believed unless the
    table is sorted."""
    if stated != "auto":
        meaning = "time" if stated == "time" else "nothing"
        return stated, f"the order of a user's events means {meaning}, as stated"
    if log.has_time:
        return "time", "the order of a user's events is that of their times"
    if is_sorted(first_visits(encode(log)[0].histories), log.n_items):
        return "none", (
            "the log has no times and its rows are sorted by item: no two users meet two items in opposite "
            "orders. Histories are taken as sets; pass order='time' if that is the order of events"
        )
    return "time", (
        "the log has no times, so the order of its rows is taken for the order of events; pass order='none' "
        "if histories are sets"
    )


def is_sorted(histories: Histories, n_items: int) -> bool:
    """Whether one order of the n items explains that of every history: following events from item to item
    never leads back."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    row = np.repeat(np.arange(len(histories)), histories.lengths)
    same = row[1:] == row[:-1]
    before, after = histories.items[:-1][same], histories.items[1:][same]
    follows = csr_matrix((np.ones(len(before), bool), (before, after)), (n_items, n_items))
    return bool(connected_components(follows, connection="strong", return_labels=False) == n_items)
