"""The built-in reranker and rule, by hand-made lists."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metarec_sdk import ArgumentError, ColumnError, NotFittedError
from metarec_sdk.ranking.mmr import MMR
from metarec_sdk.ranking.quota import Quota
from metarec_sdk.types import Histories, TopK

NOBODY = Histories.from_lists([[], []])
VECTORS = np.array([[1, 0], [1, 0.01], [0, 1], [-1, 0]], np.float32)


def lists(*rows: list[tuple[int, float]]) -> TopK:
    lengths = np.cumsum([0, *map(len, rows)])
    flat = [entry for row in rows for entry in row]
    return TopK(
        lengths.astype(np.int64),
        np.array([item for item, _ in flat], np.int64),
        np.array([score for _, score in flat], np.float32),
    )


def order(candidates: TopK, scores: np.ndarray) -> list[int]:
    chosen = [place for place in np.argsort(-scores, kind="stable") if scores[place] > -np.inf]
    return candidates.items[chosen].tolist()


def test_mmr_takes_the_dissimilar_before_the_nearly_equal():
    candidates = lists([(0, 1.0), (1, 0.9), (2, 0.5)], [])
    model = MMR(relevance=0.5)
    model.fit(pl.DataFrame({"item_id": [0, 1, 2, 3]}), VECTORS)
    scores = model.rescore(NOBODY, candidates, 2)
    assert order(candidates, scores) == [0, 2]
    # item 2: 0.5 · (0.5 − 0.5)/(1 − 0.5) − 0.5 · 0 = 0
    np.testing.assert_allclose(scores[[0, 2]], [0.5, 0.0], atol=1e-6)
    assert scores[1] == -np.inf


def test_mmr_at_full_relevance_leaves_the_order():
    candidates = lists([(3, 3.0), (1, 2.0), (0, 1.0)], [(2, 5.0)])
    model = MMR(relevance=1.0)
    model.fit(pl.DataFrame({"item_id": [0, 1, 2, 3]}), VECTORS)
    assert order(lists([(3, 3.0), (1, 2.0), (0, 1.0)]), model.rescore(NOBODY, candidates, 3)[:3]) == [3, 1, 0]


def test_mmr_scores_never_rise_when_a_later_item_is_opposite():
    candidates = lists([(0, 1.0), (3, 1.0)], [])
    model = MMR(relevance=0.5)
    model.fit(pl.DataFrame({"item_id": [0, 1, 2, 3]}), VECTORS)
    assert order(candidates, model.rescore(NOBODY, candidates, 2)) == [0, 3]


def test_a_quota_counts_each_value_within_its_own_list():
    rule = Quota(column="kind", at_most=1)
    rule.fit(pl.DataFrame({"item_id": [0, 1, 2, 3], "kind": ["x", "x", "y", None]}), VECTORS)
    candidates = lists([(1, 3.0), (0, 2.0), (2, 1.0)], [(0, 2.0), (3, 1.0), (3, 0.5)])
    assert rule.forbidden(NOBODY, candidates).tolist() == [False, True, False, False, False, False]
    assert rule.forbidden(NOBODY, lists([], [])).tolist() == []


def test_a_quota_of_lists_counts_the_first_value_and_zero_forbids_all():
    rule = Quota(column="tags", at_most=0)
    rule.fit(pl.DataFrame({"item_id": [0, 1], "tags": [["x", "y"], []]}), VECTORS)
    assert rule.forbidden(NOBODY, lists([(0, 1.0), (1, 0.5)], [])).tolist() == [True, False]


def test_mistakes_are_told():
    with pytest.raises(ArgumentError, match="relevance"):
        MMR(relevance=2.0)
    with pytest.raises(ArgumentError, match="at_most"):
        Quota(at_most=-1)
    with pytest.raises(ColumnError, match=r"'categry'.*Did you mean column='category'"):
        Quota(column="categry").fit(pl.DataFrame({"item_id": [0], "category": ["x"]}), VECTORS)
    for component, call in ((MMR(), "rescore"), (Quota(), "forbidden")):
        with pytest.raises(NotFittedError):
            getattr(component, call)(NOBODY, lists([], []), *([2] if call == "rescore" else []))
