"""Rerankers and the rule by known answers and by what they promise of any list."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from metarec_rerank.calibrated import Calibrated, divergence
from metarec_rerank.exposure import Exposure
from metarec_rerank.freshness import Freshness
from metarec_rerank.limits import Limits
from metarec_rerank.mmr import MMR
from metarec_sdk import PluginManager
from metarec_sdk.errors import ArgumentError, ColumnError, NotFittedError
from metarec_sdk.types import Histories, TopK

ITEMS = pl.DataFrame(
    {
        "item_id": list("abcdef"),
        "genres": [["war"], ["war"], ["war", "love"], ["love"], None, ["fun"]],
        "provider": ["x", "x", "x", "y", None, "y"],
        "released": pl.Series([0, 60, 30, 60, None, 0]).cast(pl.Int64),
    }
)
VECTORS = np.zeros((6, 1), np.float32)
KINDS = {"mmr": MMR, "calibrated": Calibrated, "freshness": Freshness, "exposure": Exposure}


def lists(*rows):
    """Candidates of given items, best first: scores 1, 0.9, 0.8, …"""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    items = np.array([item for row in rows for item in row], np.int64)
    scores = np.array([1 - 0.1 * place for row in rows for place in range(len(row))], np.float32)
    return TopK(offsets, items, scores)


def order(component, candidates, histories=None, k=6):
    """The items of the first list by their new scores."""
    histories = Histories.from_lists([[]] * len(candidates)) if histories is None else histories
    component.fit(ITEMS, VECTORS)
    scores = component.rescore(histories, candidates, k)[: candidates.offsets[1]]
    shown = np.argsort(-scores, kind="stable")[: int((scores > -np.inf).sum())]
    return candidates.items[shown].tolist()


def test_mmr_takes_what_is_unlike_the_items_above():
    # After a (war), b shares everything with it, c half of its values, d nothing.
    assert order(MMR(relevance=0.3), lists([0, 1, 2, 3])) == [0, 3, 2, 1]
    assert order(MMR(relevance=1.0), lists([0, 1, 2, 3])) == [0, 1, 2, 3]


def test_a_history_of_two_genres_gets_both():
    histories = Histories.from_lists([[0, 3]])  # half war, half love
    assert order(Calibrated(calibration=0.9), lists([0, 1, 3, 5]), histories, 2) == [0, 3]
    assert order(Calibrated(calibration=0.0), lists([0, 1, 3, 5]), histories, 2) == [0, 1]
    nothing_known = Histories.from_lists([[4]])
    assert order(Calibrated(calibration=0.9), lists([0, 1, 3]), nothing_known) == [0, 1, 3]


def test_divergence_is_that_of_scipy():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5), 7)
    expected = [entropy(p, 0.99 * one + 0.01 * p) for one in q]
    np.testing.assert_allclose(divergence(p, q), expected)


def test_new_items_move_up_by_half_lives():
    component = Freshness(half_life_days=30, freshness=0.5)
    component.fit(ITEMS, VECTORS)
    scores = component.rescore(Histories.from_lists([[]]), lists([0, 2, 1, 4]), 4)
    relevance, newness = np.array([1, 2 / 3, 1 / 3, 0]), np.array([0.25, 0.5, 1, 0])
    np.testing.assert_allclose(scores, (relevance + newness) / 2, rtol=1e-5)
    component.fit(ITEMS.with_columns(released=pl.from_epoch("released", "d")), VECTORS)
    np.testing.assert_allclose(component.rescore(Histories.from_lists([[]]), lists([0, 2, 1, 4]), 4), scores)


def test_groups_get_their_shares():
    assert order(Exposure(shares={"x": 0.5, "y": 0.5}), lists([0, 1, 2, 3, 5])) == [0, 3, 1, 5, 2]
    assert order(Exposure(shares={"y": 1.0}), lists([0, 1, 3, 5])) == [3, 5, 0, 1]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_prefix_has_less_than_a_group_deserves(data):
    groups = data.draw(st.lists(st.sampled_from("abc"), min_size=12, max_size=40))
    share = data.draw(st.floats(0, 1))
    items = pl.DataFrame({"item_id": range(len(groups) + 3), "provider": [*groups, *"abc"]})
    component = Exposure(shares={"a": share, "b": 1 - share})
    component.fit(items, VECTORS)
    candidates = lists(range(len(groups)))
    scores = component.rescore(Histories.from_lists([[]]), candidates, len(groups))
    shown = np.array(groups)[np.argsort(-scores, kind="stable")]
    for name, wanted in (("a", share), ("b", 1 - share)):
        had = np.cumsum(shown == name)
        for place in range(1, len(groups) + 1):
            deserved = int(np.floor(wanted * place + 1e-9))
            assert had[place - 1] >= min(deserved, groups.count(name))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.permutations(range(6)), min_size=1, max_size=3), st.integers(1, 2))
def test_limits_hold_for_what_stays_and_for_every_part_of_it(rows, most):
    component = Limits(at_most={"genres": most, "provider": 2}, blocked={"genres": ["fun"]})
    component.fit(ITEMS, VECTORS)
    candidates = lists(*rows)
    found = component.forbidden(Histories.from_lists([[]] * len(rows)), candidates)
    for start, stop in zip(candidates.offsets[:-1], candidates.offsets[1:]):
        kept = candidates.items[start:stop][~found[start:stop]]
        shown = ITEMS[kept.tolist()]
        values = shown["genres"].explode().drop_nulls().to_list() + shown["provider"].drop_nulls().to_list()
        assert all(values.count(value) <= (2 if value in "xy" else most) for value in values)
        assert 5 not in kept
        assert 4 in kept  # without values nothing forbids it
        assert not component.forbidden(Histories.from_lists([[]]), lists(kept[1:])).any()


@pytest.mark.parametrize("kind", KINDS)
def test_no_candidates_many_lists_and_the_input_stays(kind):
    component = KINDS[kind]()
    component.fit(ITEMS, VECTORS)
    assert component.rescore(Histories.from_lists([[], []]), lists([], []), 3).shape == (0,)
    candidates, histories = lists([0, 1, 2], [], [3, 4, 5, 0]), Histories.from_lists([[0], [], [3]])
    before = candidates.scores.copy()
    together = component.rescore(histories, candidates, 2)
    np.testing.assert_array_equal(candidates.scores, before)
    assert together.dtype == np.float32
    alone = component.rescore(Histories.from_lists([[3]]), lists([3, 4, 5, 0]), 2)
    np.testing.assert_array_equal(together[3:], alone)


@pytest.mark.parametrize("kind", KINDS)
def test_before_the_fit_and_without_the_column(kind):
    component = KINDS[kind]()
    with pytest.raises(NotFittedError, match=f"rerank/{kind}"):
        component.rescore(Histories.from_lists([[]]), lists([0]), 1)
    with pytest.raises(ColumnError, match=component.column):
        component.fit(ITEMS.select("item_id"), VECTORS)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (MMR, {"relevance": 1.5}),
        (Calibrated, {"calibration": -0.1}),
        (Freshness, {"half_life_days": 0.0}),
        (Freshness, {"freshness": 2.0}),
        (Exposure, {"shares": {"x": 0.7, "y": 0.7}}),
        (Exposure, {"shares": {"x": -0.1}}),
        (Limits, {"at_most": {"genres": 0}}),
    ],
)
def test_numbers_out_of_range(kind, params):
    with pytest.raises(ArgumentError, match=next(iter(params))):
        kind(**params)


def test_values_that_no_item_has():
    with pytest.raises(ArgumentError, match="provider"):
        Exposure(shares={"z": 0.5}).fit(ITEMS, VECTORS)
    with pytest.raises(NotFittedError, match="rerank/limits"):
        Limits().forbidden(Histories.from_lists([[]]), lists([0]))


def test_all_are_offered():
    plugins = PluginManager(enabled=["rerank"], strict=True)
    for name in KINDS:
        assert plugins.create("reranker", f"rerank/{name}", {}) is not None
    assert plugins.create("rule", "rerank/limits", {}) is not None
