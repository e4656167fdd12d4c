"""What a fit makes of the items' and the users' tables, on data where the truth is planted."""

import numpy as np
import polars as pl
import pytest

import metarec_sdk as mr
from metarec_sdk.recommender.cold_start import BY_SEGMENT

LIGHT = {"backbone": "factors", "meta_learner": "none", "order": "none", "progress": False}
GENRES, ITEMS, PEOPLE = 30, 600, 200


@pytest.fixture(scope="module")
def by_genre() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Everybody takes 8 items of two genres: an item is taken by two or three, so company says little."""
    rng = np.random.default_rng(0)
    genre = np.arange(ITEMS) % GENRES
    rows = []
    for person in range(PEOPLE):
        liked = np.flatnonzero(np.isin(genre, rng.choice(GENRES, 2, replace=False)))
        rows += [(person, int(item)) for item in rng.choice(liked, 8, replace=False)]
    events = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    items = pl.DataFrame({"item_id": np.arange(ITEMS), "genre": [f"g{number}" for number in genre]})
    return events, items


def fit(events: pl.DataFrame, **tables):
    log = mr.read_interactions(events, time=None)
    rec = mr.Recommender(**LIGHT, clusterer="none")
    return rec, rec.fit(log, **tables)


def test_content_wins_where_items_are_alike_and_rare(by_genre, tmp_path):
    events, items = by_genre
    plain, before = fit(events)
    told, after = fit(events, items=items)
    name = "regression with content"
    assert name not in before.item_item
    assert after.item_item[name] > 1.5 * max(before.item_item.values())
    assert after.bands[0].stack > 1.3 * before.bands[0].stack
    assert any(variant.params.get("content") for variant in told._now.stack.item_item.variants)
    # One item of a genre is enough to be shown that genre.
    asked = events["item_id"].unique().sort()[::7]
    hits = []
    for rec in (plain, told):
        lists = rec.recommend(history=[[item] for item in asked], k=10)
        hits.append((lists["item_id"] % GENRES == asked.gather(lists["user_id"]) % GENRES).mean())
    assert hits[1] > hits[0] + 0.1
    told.save(tmp_path / "model")
    again = mr.load(tmp_path / "model")
    assert again.recommend(history=[asked[:1], asked[1:3]]).equals(
        told.recommend(history=[asked[:1], asked[1:3]])
    )


def test_a_table_that_tells_nothing_changes_nothing(by_genre):
    events, items = by_genre
    _, plain = fit(events)
    _, empty = fit(events, items=items.select("item_id", genre=pl.lit(None, pl.String)))
    assert empty.item_item == plain.item_item


@pytest.fixture(scope="module")
def by_segment() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two kinds of people with a popularity of their own over the same items."""
    rng = np.random.default_rng(0)
    share = 1.0 / (np.arange(60) + 2.0)
    rows = []
    for person in range(300):
        p = np.roll(share, 30 * (person % 2))
        rows += [(person, int(item)) for item in rng.choice(60, 12, replace=False, p=p / p.sum())]
    events = pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row")
    users = pl.DataFrame({"user_id": np.arange(300), "kind": ["even", "odd"] * 150})
    return events, users


def test_segments_serve_the_first_list_whether_or_not_tasks_do(by_segment, tmp_path):
    events, users = by_segment
    # No value has enough people for a task of its own.
    rec = mr.Recommender(
        **LIGHT, clusterer="column", params={"clusterer": {"column": "kind"}}, min_task_size=1000
    )
    report = rec.fit(mr.read_interactions(events, time=None), users=users)
    assert report.n_tasks == 1
    assert report.cold_choice.endswith(BY_SEGMENT)
    assert f"without a history: {report.cold_choice}, NDCG@10" in str(report)
    best_without = max(value for name, value in report.cold_start.items() if not name.endswith(BY_SEGMENT))
    assert report.cold_start[report.cold_choice] > 1.3 * best_without
    first = rec.recommend(history=[[], []], task=["even", "odd"], k=10)
    places = [set(first.filter(pl.col("user_id") == kind)["item_id"]) for kind in (0, 1)]
    assert len(places[0] & set(range(15))) >= 8
    assert len(places[1] & set(range(30, 45))) >= 8
    # The segment goes on counting behind one event that both kinds take, and nobody needs one.
    short = rec.recommend(history=[[20], [20]], task=["even", "odd"], k=10)
    even, odd = (set(short.filter(pl.col("user_id") == kind)["item_id"]) for kind in (0, 1))
    assert even != odd
    assert rec.recommend(history=[[]], k=10).height == 10
    rec.save(tmp_path / "model")
    again = mr.load(tmp_path / "model")
    assert again.recommend(history=[[], []], task=["even", "odd"], k=10).equals(first)


def test_segments_by_chance_are_worth_no_more_than_popularity(by_segment):
    events, users = by_segment
    drawn = np.random.default_rng(1).permutation(300)
    rec = mr.Recommender(
        **LIGHT, clusterer="column", params={"clusterer": {"column": "kind"}}, min_task_size=1000
    )
    report = rec.fit(mr.read_interactions(events, time=None), users=users.with_columns(users["kind"][drawn]))
    by_chance = max(value for name, value in report.cold_start.items() if name.endswith(BY_SEGMENT))
    without = max(value for name, value in report.cold_start.items() if not name.endswith(BY_SEGMENT))
    assert by_chance == pytest.approx(without, rel=0.1)
