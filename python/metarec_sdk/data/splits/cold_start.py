"""The split of the cold-start protocol: new people after a moment, and the world before it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from metarec_sdk.data.interactions import Interactions
from metarec_sdk.data.moment import Moment, utc
from metarec_sdk.data.splits.check import check_frames
from metarec_sdk.data.splits.global_time import split_time
from metarec_sdk.data.splits.held_out_users import choose_users
from metarec_sdk.data.splits.report import SplitReport
from metarec_sdk.data.splits.ties import cut_ties
from metarec_sdk.errors import ArgumentError, DataError


@dataclass(frozen=True)
class ColdStartSplit:
    """Training, cold users and the warm users' later events; rows keep their numbers."""

    train: Interactions
    """Events before `time`, without the cold users'."""
    cold: Interactions
    """All events of the cold users."""
    warm: Interactions
    """Events at or after `time` of the users in `train`."""
    time: int
    """The split time T, microseconds since 1970 UTC."""
    held_out: pl.Series
    """The users that are cold because they were held out; the others begin at or after `time`."""
    validation: ColdStartSplit | None = None
    """The same construction inside `train`, one window earlier; its users aren't in `cold`."""

    def check(self) -> SplitReport:
        """Leaks and ties between training and cold users, training and warm events, and in `validation`."""
        report = check_frames(
            [self.train], [self.cold], users_disjoint=True, time=self.time, test_from_time=False
        )
        warm = check_frames([self.train], [self.warm], users_disjoint=False, time=self.time)
        report = report.with_leaks_of(warm, "training and warm events")
        if self.validation is not None:
            report = report.with_leaks_of(self.validation.check(), "the parts of the validation")
            both = check_frames([self.validation.cold], [self.cold], users_disjoint=True, time=None)
            report = report.with_leaks_of(both, "validation and test users")
        return replace(report, cuts=cut_ties(self.cold))


def cold_start(
    log: Interactions,
    *,
    time_quantile: float | None = None,
    time: Moment | None = None,
    holdout_fraction: float = 0.1,
    min_cold_users: int = 2000,
    validation: bool = True,
    rng: np.random.Generator,
) -> ColdStartSplit:
    """Part a log for the k-shot protocol.

    Cold are the users whose first event is at or after T. Where they are fewer than ``min_cold_users``, a
    random ``holdout_fraction`` of the other users is held out whole and joins them. Training is what is left
    before T. Validation is built alike inside training, one window (as many events as lie after T) earlier.

    Args:
        log: the events; must have times.
        time_quantile: T as a share of the events, see `global_time`; 0.8 where neither is given.
        time: T itself.
        holdout_fraction: share of the users with events before T that is held out, 0 … 1 (exclusive).
        min_cold_users: with fewer strictly cold users, others are held out.
        validation: build `ColdStartSplit.validation`; needs more than half of the events before T.
        rng: chooses who is held out.

    Raises:
        ArgumentError: for arguments out of range.
        DataError: where the log has no times, or a part would be empty.
    """
    if min_cold_users < 0:
        raise ArgumentError(f"min_cold_users must be ≥ 0, got {min_cold_users}")
    moment = split_time(log, time_quantile, time, default_quantile=0.8)
    outer = _split_at(log, moment, holdout_fraction, min_cold_users, rng)
    if not validation:
        return outer
    before = int((log.frame["timestamp"] < moment).sum()) / len(log)
    if before <= 0.5:
        raise DataError(
            f"only {before:.0%} of the events lie before the split time {utc(moment).isoformat()}; "
            f"a validation window of the same size needs more than half: split later, or use validation=False"
        )
    inner_moment = split_time(outer.train, 1 - (1 - before) / before, None, default_quantile=0.8)
    inner = _split_at(outer.train, inner_moment, holdout_fraction, min_cold_users, rng)
    return replace(outer, validation=inner)


def _split_at(
    log: Interactions, moment: int, fraction: float, min_cold_users: int, rng: np.random.Generator
) -> ColdStartSplit:
    first = log.frame.group_by("user_id").agg(first=pl.col("timestamp").min())
    known = first.filter(pl.col("first") < moment)["user_id"]
    if len(known) == 0:
        raise DataError(f"no event lies before the split time {utc(moment).isoformat()}; choose a later one")
    held_out = known.head(0)
    if first.height - len(known) < min_cold_users:
        held_out = choose_users(known, fraction, rng)
    elif not 0 < fraction < 1:
        raise ArgumentError(f"holdout_fraction must be between 0 and 1, got {fraction}")
    trained = known.filter(~known.is_in(held_out.to_list())).to_list()
    is_trained, is_before = pl.col("user_id").is_in(trained), pl.col("timestamp") < moment
    return ColdStartSplit(
        train=log.filter(is_trained & is_before),
        cold=log.filter(~is_trained),
        warm=log.filter(is_trained & ~is_before),
        time=moment,
        held_out=held_out,
    )
