"""Cutting by global time, with some users held out whole: shared by the cold-start and the warm protocol."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from metarec_sdk.data import Interactions
from metarec_sdk.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """A log cut at a time T."""

    train: Interactions
    """Events before T of the users that aren't held out."""
    later: Interactions
    """Events from T on of the users who have events in `train`."""
    cold: Interactions
    """All events of the users whose first event is at T or later, and of those held out."""
    n_strict: int
    """Users among `cold` whose first event is at T or later."""


def cut_by_time(
    log: Interactions, *, quantile: float, held_out: float, enough_strict: int, rng: np.random.Generator
) -> TimeWindow:
    """Cut at the time T that has a share ``quantile`` of the events before it.

    Users whose first event is at T or later are cold. Where they are fewer than ``enough_strict``, a share
    ``held_out`` of the other users is held out whole and is cold too. A log without times is not cut: then
    only users who are held out are cold.

    Raises:
        ArgumentError: nobody is left to train on, or nobody is cold.
    """
    ordered = log.in_order()
    if log.has_time:
        times = ordered["timestamp"].to_numpy()
        end = int(times[min(int(quantile * len(times)), len(times) - 1)])
    else:
        end = np.iinfo(np.int64).max
    first = ordered.group_by("user_id").agg(pl.col("timestamp").min().alias("first")).sort("user_id")
    strict = first.filter(pl.col("first") >= end)["user_id"]
    known = first.filter(pl.col("first") < end)["user_id"]
    if len(strict) < enough_strict and len(known) > 1:
        count = max(1, round(held_out * len(known))) if held_out > 0 else 0
        chosen = np.sort(rng.choice(len(known), count, replace=False))
        cold_users = pl.concat([strict, known.gather(chosen)])
    else:
        cold_users = strict
    is_cold = ordered["user_id"].is_in(cold_users.implode())
    before = ordered["timestamp"] < end
    train = log.replaced(ordered.filter(before & ~is_cold))
    if len(train) == 0:
        raise ArgumentError(
            f"no event is left to train on before quantile={quantile} of the times: the log of "
            f"{log.n_events} events and {log.n_users} users is too small or too many share one time"
        )
    return TimeWindow(
        train,
        log.replaced(ordered.filter(~before & ~is_cold)),
        log.replaced(ordered.filter(is_cold)),
        len(strict),
    )
