"""Few-shot episodes cut from histories: first k events, then the next ones."""

from __future__ import annotations

from typing import Literal

import numpy as np

from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import Episodes, Histories, Int64


def episodes(
    histories: Histories,
    k: int | Int64,
    n_query: int = 10,
    *,
    order: Literal["time", "random"] = "time",
    rng: np.random.Generator | None = None,
    min_events: int | None = None,
    repeats: Literal["drop", "keep"] = "drop",
) -> Episodes:
    """Support = the first k events of each history, query = the next ``n_query`` (at least one).

    Histories too short for a query event are left out. With ``min_events`` = largest k + ``n_query`` the same
    users come back at every k, which is what comparing along k needs.

    Args:
        histories: u rows.
        k: support events, ≥ 0; i64[u] to give each row its own.
        n_query: query events, ≥ 1.
        order: ``"time"``, or ``"random"``: each history is shuffled before the cut. The timestamps stay in
            place then, so that they go on rising along a row.
        rng: needed by ``"random"``.
        min_events: rows with fewer events are left out.
        repeats: ``"drop"`` keeps only the first visit to an item (the discovery protocol: no query item is in
            its support, and ``min_events`` counts distinct items); ``"keep"`` leaves histories as they are.

    Raises:
        ArgumentError: for a k < 0 or of the wrong length, ``n_query`` < 1, or a missing rng.
    """
    if n_query < 1:
        raise ArgumentError(f"n_query must be ≥ 1, got {n_query}")
    support_length = (
        np.broadcast_to(np.asarray(k, np.int64), (len(histories),)) if _fits(k, histories) else None
    )
    if support_length is None or (support_length < 0).any():
        raise ArgumentError(
            f"k must be an integer ≥ 0, or one for each of the {len(histories)} rows, got {k}"
        )
    if repeats not in ("drop", "keep"):
        raise ArgumentError(f"repeats must be 'drop' or 'keep', got {repeats!r}")
    if repeats == "drop":
        histories = first_visits(histories)
    long_enough = histories.lengths >= np.maximum(support_length + 1, min_events or 0)
    rows = np.flatnonzero(long_enough).astype(np.int32)
    chosen, k_of_row = histories.take(rows), support_length[rows]
    if order == "random":
        if rng is None:
            raise ArgumentError("order='random' needs rng, for example numpy.random.default_rng(0)")
        chosen = shuffled(chosen, rng)
    elif order != "time":
        raise ArgumentError(f"order must be 'time' or 'random', got {order!r}")
    return Episodes(chosen.first(k_of_row), chosen.between(k_of_row, k_of_row + n_query), rows)


def first_visits(histories: Histories) -> Histories:
    """Histories without events on an item that the row had before."""
    row = np.repeat(np.arange(len(histories)), histories.lengths)  # [e]
    by_item = np.lexsort((histories.items, row))  # stable: equal pairs stay in the order of time
    same_row, same_item = row[by_item], histories.items[by_item]
    first = np.ones(len(by_item), bool)
    first[1:] = (same_row[1:] != same_row[:-1]) | (same_item[1:] != same_item[:-1])
    if first.all():
        return histories
    kept = np.sort(by_item[first])
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=len(histories)))])
    return Histories(
        histories.items[kept], offsets.astype(np.int64), histories.weights[kept], histories.timestamps[kept]
    )


def shuffled(histories: Histories, rng: np.random.Generator) -> Histories:
    """Items and weights of each row in random order; timestamps stay in place."""
    row = np.repeat(np.arange(len(histories)), histories.lengths)  # [e]
    order = np.lexsort((rng.random(len(row)), row))
    return Histories(
        histories.items[order], histories.offsets, histories.weights[order], histories.timestamps
    )


def _fits(k: int | Int64, histories: Histories) -> bool:
    array = np.asarray(k)
    return np.issubdtype(array.dtype, np.integer) and array.shape in ((), (len(histories),))
