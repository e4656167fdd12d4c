"""Protocols: who is trained on, who is judged, and the hash that says so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from metarec_sdk.data import Interactions
from metarec_sdk.errors import ArgumentError, DataError
from metarec_sdk.evaluation import ColdStart, LeaveOneOut, Warm
from metarec_sdk.evaluation.cases import WHOLE, Case, Prepared

MakeLog = Callable[..., Interactions]
SMALL = ColdStart(ks=(0, 1, 3), n_query=4, min_users=1)


def names(prepared: Prepared, case: Case, part: str) -> list[list[str]]:
    histories = getattr(case.episodes, part)
    return [prepared.items.decode(row).to_list() for row in histories]


def test_cold_users_are_unknown_to_training_and_the_same_at_every_k(tastes: Interactions) -> None:
    prepared = SMALL.prepare(tastes)
    keys = [case.key for case in prepared.test.cases]
    assert keys == [("cold-start", order, k) for order in ("time", "random") for k in (0, 1, 3)]
    time = prepared.test.train.frame["timestamp"].max()
    for window in (prepared.test, prepared.validation):
        assert len({case.episodes.users.tobytes() for case in window.cases}) == 1
    # Training and validation training end earlier and earlier.
    assert prepared.validation.train.frame["timestamp"].max() < time < tastes.frame["timestamp"].max()
    train_users = set(prepared.test.train.frame["user_id"])
    assert set(prepared.validation.train.frame["user_id"]) < train_users


def test_support_and_query_are_the_first_events_and_the_next(tastes: Interactions) -> None:
    prepared = SMALL.prepare(tastes)
    in_training = set(prepared.test.train.frame["user_id"])
    histories = {
        user[0]: rows["item_id"].to_list()
        for user, rows in tastes.in_order().group_by("user_id", maintain_order=True)
        if user[0] not in in_training
    }
    for case in prepared.test.cases[:3]:
        got = [a + b for a, b in zip(names(prepared, case, "support"), names(prepared, case, "query"))]
        assert sorted(got) == sorted(items[: case.k + 4] for items in histories.values())


def test_random_order_is_one_shuffle_cut_at_different_places(tastes: Interactions) -> None:
    prepared = SMALL.prepare(tastes)
    _, one, three = prepared.test.cases[3:]
    support = names(prepared, three, "support")
    assert [row[:1] for row in support] == names(prepared, one, "support")
    assert support != names(prepared, prepared.test.cases[2], "support")


def test_support_sizes_that_too_few_reach_are_left_out_and_said(tastes: Interactions) -> None:
    prepared = ColdStart(ks=(0, 5, 40), n_query=4, min_users=10).prepare(tastes)
    assert {case.k for case in prepared.test.cases} == {0, 5}
    assert any("k = 40 is left out" in note for note in prepared.notes)
    (sizes,) = (note for note in prepared.notes if "the median query" in note)
    longest = [len(row) for row in names(prepared, prepared.test.cases[1], "query")]
    assert sizes == f"at k = 5 the median query has {np.median(longest):g} items"
    with pytest.raises(ArgumentError, match="no cold user has 44 distinct items"):
        ColdStart(ks=(40,), n_query=4).prepare(tastes)


def test_without_times_users_are_held_out(tastes: Interactions) -> None:
    untimed = Interactions(tastes.frame.with_columns(timestamp=pl.col("row")), has_time=False)
    prepared = SMALL.prepare(untimed)
    assert len(prepared.test.cases[0].episodes) == 16
    assert prepared.test.train.n_users == 144
    with pytest.raises(ArgumentError, match="the log has none"):
        Warm().prepare(untimed)


def test_warm_trains_on_the_same_events_as_cold_start(tastes: Interactions) -> None:
    cold, warm = ColdStart(min_users=1).prepare(tastes), Warm().prepare(tastes)
    assert cold.test.train.frame.equals(warm.test.train.frame)
    assert cold.validation.train.frame.equals(warm.validation.train.frame)
    assert cold.hash != warm.hash


def test_warm_asks_for_new_items_only(make_log: MakeLog) -> None:
    rows = [(f"before{number}", "z", number - 14) for number in range(14)]
    rows += [("a", "x", 0), ("b", "x", 1), ("b", "y", 2), ("c", "y", 3), ("d", "x", 4), ("e", "z", 5)]
    rows += [("a", "x", 10), ("a", "y", 11), ("a", "y", 12), ("a", "z", 13), ("b", "x", 14)]
    prepared = Warm(quantile=0.8, held_out=0.01, enough_strict=0).prepare(make_log(rows))
    (case,) = prepared.test.cases
    assert case.k == WHOLE
    assert names(prepared, case, "support") == [["x"]]
    assert names(prepared, case, "query") == [["y", "z"]]


def test_leave_one_out_takes_the_last_new_item_and_breaks_ties_by_row(make_log: MakeLog) -> None:
    rows = [("a", "x", 0), ("a", "y", 1), ("a", "z", 1), ("a", "x", 5), ("b", "x", 0), ("b", "y", 9)]
    rows += [("c", item, 3) for item in "wxyz"]
    prepared = LeaveOneOut().prepare(make_log(rows))
    (case,) = prepared.test.cases
    assert names(prepared, case, "query") == [["z"], ["z"]]
    assert names(prepared, case, "support") == [["x", "y"], ["w", "x", "y"]]
    assert sorted(prepared.test.train.frame["user_id"].unique()) == ["a", "b", "c"]
    (validation,) = prepared.validation.cases
    assert names(prepared, validation, "query") == [["y"]]
    assert prepared.notes == ("100% of the users have a tie at their last time; broken by row order",)
    with pytest.raises(ArgumentError, match="three distinct items"):
        LeaveOneOut().prepare(make_log([("a", "x", 0), ("a", "y", 1)]))


def test_the_hash_names_protocol_parameters_and_data(make_log: MakeLog) -> None:
    rows = [("a", "x", 0), ("a", "y", 1), ("a", "z", 2), ("b", "x", 3)]
    log = make_log(rows)
    known = LeaveOneOut().prepare(log).hash
    assert known == "94a35d54c95522cea486433dd33294618dacb190ecda7f8c6a58b5ad7b18b718"
    shuffled = Interactions(log.frame.sample(fraction=1.0, shuffle=True, seed=1))
    assert LeaveOneOut().prepare(shuffled).hash == known
    more = Interactions(log.frame.with_columns(colour=pl.lit("red"), value=pl.lit(5.0)))
    assert LeaveOneOut().prepare(more).hash == known
    assert LeaveOneOut().prepare(make_log([*rows[:3], ("b", "y", 3)])).hash != known


def test_each_parameter_changes_the_hash(tastes: Interactions) -> None:
    variants = [
        SMALL,
        ColdStart(ks=(0, 1, 3), n_query=5, min_users=1),
        ColdStart(ks=(0, 1), n_query=4, min_users=1),
        ColdStart(ks=(0, 1, 3), n_query=4, min_users=1, seed=1),
        ColdStart(ks=(0, 1, 3), n_query=4, min_users=1, quantile=0.75),
        ColdStart(ks=(0, 1, 3), n_query=4, min_users=1, orders=("time",)),
    ]
    hashes = {variant.prepare(tastes).hash for variant in variants}
    assert len(hashes) == len(variants)
    assert SMALL.prepare(tastes).hash in hashes


def test_the_same_seed_cuts_alike(tastes: Interactions) -> None:
    first, again = SMALL.prepare(tastes), SMALL.prepare(tastes)
    for one, other in zip(first.test.cases, again.test.cases):
        np.testing.assert_array_equal(one.episodes.support.items, other.episodes.support.items)
        np.testing.assert_array_equal(one.episodes.query.items, other.episodes.query.items)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantile": 1.0}, "quantile"),
        ({"ks": ()}, "ks"),
        ({"ks": (1, 1)}, "ks"),
        ({"ks": (-1,)}, "ks"),
        ({"n_query": 0}, "n_query"),
        ({"orders": ("reverse",)}, "orders"),
        ({"repeats": "keep"}, "repeats"),
        ({"held_out": 0.0}, "held_out"),
    ],
)
def test_bad_parameters_are_refused_by_name(arguments: dict, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        ColdStart(**arguments)


def test_a_log_too_small_is_refused(make_log: MakeLog) -> None:
    with pytest.raises((ArgumentError, DataError)):
        ColdStart().prepare(make_log([("a", "x", 0), ("b", "x", 1)]))
