"""Train on what happened before a moment, test on the rest: the honest split."""

from __future__ import annotations

import polars as pl

from metarec_sdk.data.interactions import Interactions
from metarec_sdk.data.moment import Moment, microseconds, utc
from metarec_sdk.data.splits.split import Split
from metarec_sdk.errors import ArgumentError, DataError


def global_time(log: Interactions, *, quantile: float | None = None, time: Moment | None = None) -> Split:
    """Training = events before T, test = events at or after T; events at the same time are never parted.

    Args:
        log: the events; must have times.
        quantile: T is the time of the event at this share of the events in order, 0 < quantile < 1; 0.9
            where neither is given.
        time: T itself: microseconds since 1970 UTC, a datetime (naive means UTC) or a date.

    Raises:
        ArgumentError: where both are given, or the quantile is out of range.
        DataError: where the log has no times, or one part would be empty.
    """
    moment = split_time(log, quantile, time, default_quantile=0.9)
    train, test = log.filter(pl.col("timestamp") < moment), log.filter(pl.col("timestamp") >= moment)
    for part, side in ((train, "before"), (test, "at or after")):
        if len(part) == 0:
            raise DataError(f"no event lies {side} the split time {utc(moment).isoformat()}; choose another")
    return Split(train, test, time=moment)


def split_time(
    log: Interactions,
    quantile: float | None,
    time: Moment | None,
    *,
    default_quantile: float,
) -> int:
    """The split time in microseconds from whichever of the two arguments is given."""
    if quantile is not None and time is not None:
        raise ArgumentError("give quantile or time, not both")
    if not log.has_time:
        raise DataError(
            "the log has no times, so it can't be split by time; use held_out_users or leave_one_out, "
            "or read it with time="
        )
    if time is None:
        return time_at_quantile(log, default_quantile if quantile is None else quantile)
    return microseconds(time, "time")


def time_at_quantile(log: Interactions, quantile: float) -> int:
    """The time (microseconds) of the event at position ⌊quantile · e⌋ in order; an event's own time, never
    interpolated.

    Raises:
        ArgumentError: for a quantile outside 0 … 1 (exclusive).
    """
    if not 0 < quantile < 1:
        raise ArgumentError(f"quantile must be between 0 and 1, got {quantile}")
    if len(log) == 0:
        raise DataError("an empty log can't be split")
    return int(log.frame["timestamp"].sort()[int(quantile * len(log))])
