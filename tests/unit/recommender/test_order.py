"""What the order of a user's events is taken to mean, on logs where it matters and where it doesn't."""

import numpy as np
import polars as pl
import pytest

import metarec_sdk as mr
from metarec_sdk.errors import ArgumentError
from metarec_sdk.recommender.order import is_sorted, order_of
from metarec_sdk.types import Histories

LIGHT = {"backbone": "factors", "meta_learner": "none", "clusterer": "none"}
N_ITEMS, GROUP = 60, 15


def table(rows: list[np.ndarray], *, times: bool) -> pl.DataFrame:
    users = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    frame = pl.DataFrame({"user_id": users, "item_id": np.concatenate(rows).astype(np.int64)})
    return frame.with_columns(ts=pl.int_range(pl.len()) * 1_000_000) if times else frame


def tastes(n_users: int, seed: int) -> list[np.ndarray]:
    """Ten of the 15 items of a user's group, and three others, in random order."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        own = user % 4 * GROUP + rng.permutation(GROUP)[:10]
        rows.append(rng.permutation(np.union1d(own, rng.choice(N_ITEMS, 3, replace=False))))
    return rows


def read(rows: list[np.ndarray], *, times: bool) -> mr.Interactions:
    return mr.read_interactions(table(rows, times=times), time="ts" if times else None)


def test_rows_sorted_by_item_are_recognised():
    rows = tastes(200, 0)
    assert order_of(read([np.sort(row) for row in rows], times=False), "auto")[0] == "none"
    assert order_of(read([np.sort(row)[::-1] for row in rows], times=False), "auto")[0] == "none"
    # Any one order of the items explains itself, not only that of their ids.
    names = np.random.default_rng(1).permutation(N_ITEMS)
    assert order_of(read([names[np.sort(row)] for row in rows], times=False), "auto")[0] == "none"


def test_times_and_rows_that_contradict_each_other_are_believed():
    rows = tastes(200, 0)
    assert order_of(read(rows, times=False), "auto")[0] == "time"
    assert order_of(read([np.sort(row) for row in rows], times=True), "auto")[0] == "time"


def test_what_is_stated_stands():
    rows = read([np.sort(row) for row in tastes(50, 0)], times=False)
    assert order_of(rows, "time") == ("time", "the order of a user's events means time, as stated")
    assert order_of(rows, "none") == ("none", "the order of a user's events means nothing, as stated")
    with pytest.raises(ArgumentError, match="order"):
        mr.Recommender(order="sideways")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [([[0, 1, 2], [1, 2, 3]], True), ([[0, 1], [1, 2], [2, 0]], False), ([[2], []], True), ([], True)],
)
def test_is_sorted_known_answers(rows, expected):
    assert is_sorted(Histories.from_lists(rows), 4) is expected


def test_many_users_of_one_pair_still_count():
    # 256 of the same step: a count of one byte would have come back to 0.
    assert not is_sorted(Histories.from_lists([[0, 1]] * 256 + [[1, 0]]), 2)


def ndcg_in_random_order(rec: mr.Recommender, rows: list[np.ndarray], k: int) -> float:
    """NDCG@10 of what follows k events of people who weren't trained on."""
    histories = Histories.from_lists([row[:k].tolist() for row in rows])
    lists = rec.rank(histories, 10)
    gains = []
    discount = 1 / np.log2(np.arange(2, 12))
    for row, start, stop in zip(rows, lists.offsets[:-1], lists.offsets[1:]):
        hits = np.isin(rec.items.decode(lists.items[start:stop]), row[k:])
        gains.append((hits * discount[: len(hits)]).sum() / discount[: min(10, len(row) - k)].sum())
    return float(np.mean(gains))


def test_a_sorted_table_serves_people_who_come_in_an_order_of_their_own():
    sorted_log = read([np.sort(row) for row in tastes(300, 0)], times=False)
    strangers = tastes(200, 1)
    quality = {}
    for order in ("auto", "time"):
        rec = mr.Recommender(**LIGHT, order=order)
        report = rec.fit(sorted_log)
        quality[order] = np.mean([ndcg_in_random_order(rec, strangers, k) for k in (1, 3, 5)])
        assert report.order == {"auto": "none", "time": "time"}[order]
    assert quality["auto"] > quality["time"] + 0.02


def test_sets_lose_what_only_the_order_tells():
    # Everybody goes around a ring of 60 items from a place of their own: only the last event tells the next.
    rng = np.random.default_rng(0)
    rows = [(start + np.arange(13)) % N_ITEMS for start in rng.integers(0, N_ITEMS, 300)]
    strangers = [(start + np.arange(13)) % N_ITEMS for start in rng.integers(0, N_ITEMS, 100)]
    quality = {}
    for order in ("auto", "none"):
        rec = mr.Recommender(**LIGHT, order=order)
        rec.fit(read(rows, times=True))
        quality[order] = ndcg_in_random_order(rec, strangers, 5)
    assert quality["auto"] > quality["none"] + 0.1


def test_known_users_keep_their_own_order():
    rows = tastes(120, 0)
    rec = mr.Recommender(**LIGHT, order="none", history_limit=3)
    rec.fit(read(rows, times=True))
    histories, _, _ = next(rec._now.known_users([7]))
    assert rec.items.decode(histories.items).to_list() == rows[7].tolist()
