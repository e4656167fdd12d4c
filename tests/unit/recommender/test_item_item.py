"""The item-item member: a variant for each band of history lengths."""

import numpy as np
import polars as pl
import pytest

import metarec_sdk as mr
from metarec_sdk.heads.item_knn import ItemKNN
from metarec_sdk.plugins import PluginManager
from metarec_sdk.recommender.components import Components
from metarec_sdk.recommender.item_item import MOST_REGRESSED, ItemItem, Variant, together
from metarec_sdk.recommender.recipe import Recipe
from metarec_sdk.testing.samples import world
from metarec_sdk.types import Histories, TrainingLog

ROWS = [[], [0], [1, 2], [3], [0, 1, 2, 3, 4], [4, 5]]


@pytest.fixture
def log() -> TrainingLog:
    rng = np.random.default_rng(0)
    return TrainingLog(Histories.from_lists([rng.permutation(8)[:5].tolist() for _ in range(30)]), 8)


def dense(boosts, n=8):
    offsets, items, values = boosts
    scores = np.zeros((len(offsets) - 1, n), np.float32)
    scores[np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), items] = values
    return scores


def test_every_band_is_answered_by_its_own_variant(log):
    symmetric, directed = ItemKNN(), ItemKNN(directed=True)
    for member in (symmetric, directed):
        member.fit(log, np.random.default_rng(0))
    histories = Histories.from_lists(ROWS)
    chosen = ItemItem(
        [symmetric, directed, symmetric],
        [Variant({}), Variant({"directed": True}, 1), Variant({}, 2)],
        np.array([1, 0, 2, 2, 2, 2], np.int32),  # 1, 2-3, 4-7 events
    )
    parts = [(rows, member.boosts(heard)) for member, rows, heard in chosen.parts(histories)]
    found = dense(together(len(histories), parts))
    expected = np.zeros_like(found)
    for row, history in enumerate(ROWS):
        alone = Histories.from_lists([history])
        if len(history) == 1:
            expected[row] = dense(directed.boosts(alone))[0]
        elif len(history) in (2, 3):
            expected[row] = dense(symmetric.boosts(alone))[0]
        elif history:
            expected[row] = dense(symmetric.boosts(alone.last(2)))[0]
    np.testing.assert_array_equal(found, expected)
    assert found.any(axis=1).tolist() == [False, True, True, True, True, True]


def test_one_part_is_handed_on_as_it_is():
    boosts = np.array([0, 1, 1]), np.array([3], np.int32), np.ones(1, np.float32)
    assert together(2, [(np.arange(2), boosts)]) is boosts


@pytest.mark.parametrize(
    ("params", "n_items", "expected"),
    [
        ({}, 100, ["symmetric", "directed", "symmetric, last 5", "directed, last 5", "regression"]),
        ({}, MOST_REGRESSED + 1, ["symmetric", "directed", "symmetric, last 5", "directed, last 5"]),
        ({"directed": False}, 100, ["whole history", "last 5"]),
        ({"directed": True}, 100, ["whole history", "last 5"]),
        ({"regression": False}, 100, ["symmetric", "directed", "symmetric, last 5", "directed, last 5"]),
        ({"regression": True}, 100, ["whole history", "last 5"]),
    ],
)
def test_what_the_recipe_leaves_open_competes(params, n_items, expected):
    components = Components(Recipe(params={"item_item": params}), PluginManager())
    assert list(components.item_item_variants(n_items, content=False)) == expected


@pytest.mark.parametrize(
    ("params", "n_items", "last"),
    [
        ({}, 100, "regression with content"),
        ({}, MOST_REGRESSED + 1, "directed, last 5"),
        ({"content": False}, 100, "regression"),
        ({"regression": True}, 100, "last 5"),
    ],
)
def test_content_competes_where_it_is_known_and_a_regression_may(params, n_items, last):
    components = Components(Recipe(params={"item_item": params}), PluginManager())
    assert list(components.item_item_variants(n_items, content=True))[-1] == last
    assert components.reads_content(n_items) == (last == "regression with content")


@pytest.mark.parametrize("params", [{"directed": True}, {"regression": True}, {}])
@pytest.mark.parametrize("people", [3, 60])
def test_whatever_is_stated_fits_decided_or_not(params, people):
    events = world().events.sort("user_id")
    users = events["user_id"].unique().sort()[:people]
    rows = events.filter(pl.col("user_id").is_in(users.to_list()))
    log = mr.read_interactions(rows.select("user_id", "item_id"), time=None)
    rec = mr.Recommender(
        backbone="factors",
        clusterer="none",
        meta_learner="none",
        params={"item_item": params},
        progress=False,
    )
    report = rec.fit(log)
    assert bool(report.item_item) == (people == 60)
    assert len(rec.recommend([users[0]], k=3))
