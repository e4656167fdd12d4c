"""The tables of the small world: a log of what people did, the items and the people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

MINUTE, DAY = 60_000_000, 86_400_000_000  # microseconds
START = 1_700_000_000_000_000
SHOWN = 4
"""Items in a list; all but one of them are clicked."""

_Event = tuple[Any, ...]
_COLUMNS: dict[str, Any] = {
    "user_id": pl.String,
    "item_id": pl.String,
    "timestamp": pl.Int64,
    "event_type": pl.String,
    "value": pl.Float64,
    "position": pl.Int64,
    "propensity": pl.Float64,
    "request_id": pl.String,
    "label": pl.Float64,
}


def event_table(rows: Sequence[Sequence[int]], n_items: int, rng: np.random.Generator) -> pl.DataFrame:
    """What people do with lists that they are shown, in canonical columns and those that a log may have.

    ``rows``: the items that each person clicks, in order, of the first ``n_items``. Every item of a list gets
    a ``view``; a click is followed by a ``dwell`` (seconds), a ``purchase`` (the price) some time later, a
    ``rating`` (1 to 5) or nothing. ``position`` (from 0), ``propensity`` and ``request_id`` tell the list,
    and are null for purchases and ratings; ``label`` is a long-term outcome, null for some events.
    """
    events: list[_Event] = []
    for user, row in enumerate(rows):
        time = START + int(rng.integers(0, 10 * DAY))
        for number, first in enumerate(range(0, len(row), SHOWN - 1)):
            clicked = row[first : first + SHOWN - 1]
            passed = rng.choice([item for item in range(n_items) if item not in clicked])
            shown = rng.permutation([*clicked, passed])
            for place, item in enumerate(shown):
                of_list = (place, 1.0 / (place + 1), f"u{user}/{number}")
                events.append((f"u{user}", f"i{item}", time, "view", None, *of_list, 0.1))
                if item in clicked:
                    events += _after_view(f"u{user}", int(item), time + MINUTE * (place + 1), of_list, rng)
            time += int(rng.integers(30 * MINUTE, 2 * DAY))
    frame = pl.DataFrame(events, schema=_COLUMNS, orient="row").sort("timestamp", maintain_order=True)
    rows_ = pl.int_range(pl.len(), dtype=pl.Int64)
    return frame.select(
        *frame.columns[:5],
        rows_.alias("row"),
        *frame.columns[5:-1],
        pl.when(rows_ % 10 != 3).then("label").alias("label"),
    )


def _after_view(
    user: str, item: int, time: int, of_list: tuple[int, float, str], rng: np.random.Generator
) -> list[_Event]:
    events: list[_Event] = [(user, f"i{item}", time, "click", None, *of_list, 0.5)]
    then = int(rng.integers(4))
    if then == 0:
        seconds = float(rng.exponential(30.0))
        events.append((user, f"i{item}", time, "dwell", seconds, *of_list, min(seconds / 60, 1.0)))
    elif then == 1:
        later = time + int(rng.exponential(DAY))
        events.append((user, f"i{item}", later, "purchase", 1.0 + item, None, None, None, 1.0))
    elif then == 2:
        stars = float(rng.integers(1, 6))
        events.append((user, f"i{item}", time + DAY, "rating", stars, None, None, None, stars / 5))
    return events


def item_table(n_items: int, n_groups: int) -> pl.DataFrame:
    """Category, genres, title, price, provider and release date; the last row has nothing but its id."""
    places = range(n_items - 1)
    return pl.DataFrame(
        {
            "item_id": [f"i{place}" for place in range(n_items)],
            "category": [*(f"c{place % n_groups}" for place in places), None],
            "genres": [*([f"g{place % n_groups}", f"g{n_groups + place % 2}"] for place in places), None],
            "title": [*(f"thing {place} of group {place % n_groups}" for place in places), None],
            "price": [*(None if place % 7 == 0 else 1.0 + place for place in places), None],
            "provider": [*(None if place % 11 == 0 else f"p{place % 4}" for place in places), None],
            "released": [*(date(2023, 1, 1) + timedelta(days=9 * place) for place in places), None],
        }
    )


def user_table(n_users: int, n_groups: int) -> pl.DataFrame:
    """The segment, which follows the taste and isn't known of everybody, and the market, which doesn't."""
    users = range(n_users)
    return pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in users],
            "segment": [None if user % 8 == 7 else f"s{user % n_groups}" for user in users],
            "market": [f"m{user // 2 % 2}" for user in users],
        }
    )
