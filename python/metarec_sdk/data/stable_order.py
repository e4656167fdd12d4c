"""The order of events by user, then time, then row."""

from __future__ import annotations

import numpy as np
import polars as pl

from metarec_sdk.types import Int32, Int64


def event_order(user_index: Int32, timestamp: pl.Series, row: pl.Series) -> Int64:
    """i64[e], positions of the events by user (-1 first), then time, then row."""
    if not row.is_sorted():
        keys = pl.DataFrame({"user": pl.Series(user_index), "timestamp": timestamp, "row": row})
        return _sorted_positions(keys)
    # Logs mostly come by time, or by time within each user: grouping by user is then all that is to do.
    order = by_group(user_index)
    if timestamp.is_sorted():
        return order
    times, users = timestamp.to_numpy()[order], user_index[order]
    if ((times[1:] >= times[:-1]) | (users[1:] != users[:-1])).all():
        return order
    return _sorted_positions(pl.DataFrame({"user": pl.Series(user_index), "timestamp": timestamp}))


def by_group(group: Int32) -> Int64:
    """i64[e], positions by group (≥ -1), in each group as they come.

    A radix sort of 16 bits at a time, which is what NumPy's stable sort is for uint16.
    """
    if len(group) == 0:
        return np.zeros(0, np.int64)
    shifted = group.view(np.uint32) + np.uint32(1)  # -1 wraps round to 0
    order = np.argsort(shifted.astype(np.uint16), kind="stable")
    if int(shifted.max()) > 0xFFFF:
        high = (shifted >> np.uint32(16)).astype(np.uint16)
        order = order[np.argsort(high[order], kind="stable")]
    return order


def _sorted_positions(keys: pl.DataFrame) -> Int64:
    """Positions in the order of the columns, equal keys as they come."""
    order = keys.select(pl.arg_sort_by(*keys.columns, maintain_order=True)).to_series()
    return np.asarray(order.to_numpy(), np.int64)
