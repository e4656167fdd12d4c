"""Splits: known answers, nothing lost or doubled, ties stay together, leaks are found."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarec_sdk.data import Interactions, check_split, read_interactions, splits
from metarec_sdk.errors import ArgumentError, DataError

START = 1_700_000_000
SECOND = 1_000_000


def log_of(events: list[tuple[int, int, int]]) -> Interactions:
    users, items, times = zip(*events)
    frame = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": [START + t for t in times]})
    return read_interactions(frame)


def rows(log: Interactions) -> list[int]:
    return log.frame["row"].to_list()


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


logs = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 6)), min_size=2, max_size=40
).map(log_of)


def test_global_time_keeps_ties_together() -> None:
    log = log_of([(1, 1, 0), (1, 2, 5), (2, 1, 5), (2, 2, 5), (1, 3, 9)])
    for quantile, expected in ((0.2, [0]), (0.5, [0]), (0.7, [0]), (0.8, [0, 1, 2, 3])):
        split = splits.global_time(log, quantile=quantile)
        assert rows(split.train) == expected
        assert rows(split.test) == [i for i in range(5) if i not in expected]
    assert split.time == (START + 9) * SECOND
    split.check().raise_if_leaking()


def test_global_time_at_a_moment() -> None:
    log = log_of([(1, 1, 0), (1, 2, 1), (1, 3, 2)])
    moment = datetime.fromtimestamp(START + 1, UTC)
    for time in (moment, moment.replace(tzinfo=None), (START + 1) * SECOND):
        assert rows(splits.global_time(log, time=time).test) == [1, 2]
    with pytest.raises(DataError, match="before the split time"):
        splits.global_time(log, time=date(2000, 1, 1))
    with pytest.raises(DataError, match="at or after"):
        splits.global_time(log, time=date(2100, 1, 1))


@settings(deadline=None, max_examples=40)
@given(logs, st.floats(0.01, 0.99))
def test_global_time_parts_completely(log: Interactions, quantile: float) -> None:
    try:
        split = splits.global_time(log, quantile=quantile)
    except DataError:
        times = log.frame["timestamp"].sort()
        assert times[int(quantile * len(times))] == times[0]  # nothing lies before T
        return
    assert sorted(rows(split.train) + rows(split.test)) == rows(log)
    assert split.train.frame["timestamp"].max() < split.test.frame["timestamp"].min()  # type: ignore[operator]
    report = split.check()
    assert not report.leaking
    assert report.ties.tied_users == 0


@settings(deadline=None, max_examples=40)
@given(logs, st.floats(0.01, 0.99), st.integers(0, 3))
def test_held_out_users_are_whole(log: Interactions, fraction: float, seed: int) -> None:
    if log.n_users < 2:
        with pytest.raises(DataError, match="at least 2 users"):
            splits.held_out_users(log, fraction=fraction, rng=generator())
        return
    split = splits.held_out_users(log, fraction=fraction, rng=generator(seed))
    assert sorted(rows(split.train) + rows(split.test)) == rows(log)
    assert not set(split.train.frame["user_id"]) & set(split.test.frame["user_id"])
    assert split.test.n_users == min(max(round(fraction * log.n_users), 1), log.n_users - 1)
    assert not split.check().leaking
    backwards = splits.held_out_users(
        log.replaced(log.frame.reverse()), fraction=fraction, rng=generator(seed)
    )
    assert sorted(rows(backwards.test)) == rows(split.test)


def test_leave_one_out_known_answer() -> None:
    log = log_of([(1, 1, 5), (2, 9, 0), (1, 2, 5), (1, 3, 5), (1, 4, 1), (2, 8, 1)])
    split = splits.leave_one_out(log)
    assert rows(split.test) == [3]  # the last of the tie, in the order of the rows
    assert split.validation is not None
    assert rows(split.validation) == [2]
    assert rows(split.train) == [0, 1, 4, 5]  # user 2 has only two events
    ties = split.check().ties
    assert (ties.users, ties.tied_users, ties.exchangeable_events) == (1, 1, 1)
    assert ties.expected_changes == pytest.approx(2 / 3)


@settings(deadline=None, max_examples=40)
@given(logs)
def test_leave_one_out_parts_completely_and_stably(log: Interactions) -> None:
    by_user: dict[int, list[tuple[int, int]]] = {}
    for event in log.frame.iter_rows(named=True):
        by_user.setdefault(event["user_id"], []).append((event["timestamp"], event["row"]))
    long = [sorted(events) for events in by_user.values() if len(events) >= 3]
    if not long:
        with pytest.raises(DataError, match="at least 3"):
            splits.leave_one_out(log)
        return
    split = splits.leave_one_out(log)
    assert split.validation is not None
    assert sorted(rows(split.test)) == sorted(events[-1][1] for events in long)
    assert sorted(rows(split.validation)) == sorted(events[-2][1] for events in long)
    assert sorted(rows(split.train) + rows(split.validation) + rows(split.test)) == rows(log)
    shuffled = log.replaced(log.frame.sample(fraction=1.0, shuffle=True, seed=1))
    assert rows(splits.leave_one_out(shuffled).test) == rows(split.test)
    assert not {"user_future", "shared_user"} & {leak.name for leak in split.check().leaks}


def test_cold_start_holds_users_out_where_few_are_cold() -> None:
    events = [(user, user % 3, user + 10 * step) for user in range(20) for step in range(5)]
    events += [(100 + i, 1, 60 + i) for i in range(4)]
    log = log_of(events)
    split = splits.cold_start(
        log, time=(START + 40) * SECOND, holdout_fraction=0.25, min_cold_users=10, rng=generator()
    )
    assert len(split.held_out) == 5
    cold = set(split.cold.frame["user_id"])
    assert cold == set(split.held_out) | {100, 101, 102, 103}
    assert rows(split.cold) == [i for i, event in enumerate(events) if event[0] in cold]  # whole
    assert all(t < split.time for t in split.train.frame["timestamp"])
    together = rows(split.train) + rows(split.cold) + rows(split.warm)
    assert sorted(together) == rows(log)
    assert split.validation is not None
    assert split.validation.time < split.time
    assert not set(split.validation.cold.frame["user_id"]) & cold
    report = split.check()
    report.raise_if_leaking()
    assert report.cuts is not None
    few = splits.cold_start(
        log, time=(START + 40) * SECOND, min_cold_users=4, validation=False, rng=generator()
    )
    assert len(few.held_out) == 0
    assert set(few.cold.frame["user_id"]) == {100, 101, 102, 103}


@settings(deadline=None, max_examples=40)
@given(logs, st.integers(0, 3), st.floats(0.55, 0.9))
def test_cold_start_loses_nothing(log: Interactions, seed: int, quantile: float) -> None:
    try:
        split = splits.cold_start(log, time_quantile=quantile, holdout_fraction=0.3, rng=generator(seed))
    except DataError:
        return
    assert sorted(rows(split.train) + rows(split.cold) + rows(split.warm)) == rows(log)
    inner = split.validation
    assert inner is not None
    assert sorted(rows(inner.train) + rows(inner.cold) + rows(inner.warm)) == rows(split.train)
    assert {leak.name for leak in split.check().leaks} <= {"same_event"}  # the log may hold duplicates


def test_same_seed_same_users() -> None:
    log = log_of([(user, 1, user) for user in range(50)])
    chosen = [
        splits.held_out_users(log, rng=generator(seed)).test.frame["user_id"].to_list() for seed in (1, 1, 2)
    ]
    assert chosen[0] == chosen[1] != chosen[2]


LOG = log_of([(1, 1, 0), (1, 2, 1), (1, 3, 2), (2, 1, 0), (2, 2, 3)])


@pytest.mark.parametrize(
    ("train", "test", "arguments", "leak"),
    [
        ([0, 1, 2], [2, 4], {}, "same_event"),
        ([0, 2], [1], {}, "user_future"),
        ([0, 1], [2, 3], {"users_disjoint": True}, "shared_user"),
        ([0, 4], [2], {"time": (START + 2) * SECOND}, "after_split_time"),
        ([0], [1], {"time": (START + 2) * SECOND}, "before_split_time"),
    ],
)
def test_check_finds_the_leak(
    train: list[int], test: list[int], arguments: dict[str, int], leak: str
) -> None:
    report = check_split(
        LOG.filter(pl.col("row").is_in(train)), LOG.filter(pl.col("row").is_in(test)), **arguments
    )
    assert leak in [found.name for found in report.leaks]
    with pytest.raises(DataError, match=leak):
        report.raise_if_leaking()
    assert leak in str(report)
    assert report.to_dict()["leaks"]


def test_a_duplicate_that_straddles_the_split_is_a_leak() -> None:
    log = log_of([(1, 1, 0), (1, 2, 1), (1, 3, 2), (1, 3, 2)])
    assert [leak.name for leak in splits.leave_one_out(log).check().leaks] == ["same_event"]


def test_cut_ties() -> None:
    log = log_of([(1, 1, 0), (1, 2, 0), (1, 3, 1), (2, 1, 0), (2, 2, 1), (3, 1, 0)])
    assert splits.cut_ties(log, (1, 2, 5)).to_dicts() == [
        {"k": 1, "users": 2, "tied_users": 1, "share": 0.5},
        {"k": 2, "users": 1, "tied_users": 0, "share": 0.0},
    ]
    with pytest.raises(ArgumentError, match="k must"):
        splits.cut_ties(log, (0,))


def test_logs_without_times() -> None:
    log = read_interactions(LOG.frame.select("user_id", "item_id"), time=None)
    for split in (splits.global_time, splits.cold_start):
        with pytest.raises(DataError, match="no times"):
            split(log, **({"rng": generator()} if split is splits.cold_start else {}))  # type: ignore[operator]
    assert rows(splits.leave_one_out(log).test) == [2]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("global_time", {"quantile": 0.0}, "quantile"),
        ("global_time", {"quantile": 1.0}, "quantile"),
        ("global_time", {"quantile": 0.5, "time": 1}, "not both"),
        ("global_time", {"time": "2024-01-01"}, "time must be"),
        ("held_out_users", {"fraction": 0.0, "rng": generator()}, "fraction"),
        ("held_out_users", {"fraction": float("nan"), "rng": generator()}, "fraction"),
        ("cold_start", {"holdout_fraction": 1.0, "rng": generator()}, "between 0 and 1"),
        ("cold_start", {"min_cold_users": -1, "rng": generator()}, "min_cold_users"),
    ],
)
def test_bad_arguments(name: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        getattr(splits, name)(LOG, **arguments)


def test_validation_needs_room() -> None:
    with pytest.raises(DataError, match="validation=False"):
        splits.cold_start(LOG, time_quantile=0.5, rng=generator())
