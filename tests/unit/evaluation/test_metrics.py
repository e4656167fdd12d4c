"""Ranking metrics against hand-made answers and against ranx."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.judged import MISSED, judge
from metarec_sdk.evaluation.metrics import (
    covered,
    hit_rate,
    mean_reciprocal_rank,
    ndcg,
    popularity_strata,
    recall,
    recall_in_stratum,
)
from metarec_sdk.types import Histories, TopK


def lists_of(rows: list[list[int]]) -> TopK:
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    items = np.array([item for row in rows for item in row], np.int64)
    scores = np.concatenate([-np.arange(len(row), dtype=np.float32) for row in rows] or [np.empty(0)])
    return TopK(offsets, items, scores.astype(np.float32))


def test_known_answers() -> None:
    judged = judge(lists_of([[5, 3, 1], [2, 0], []]), Histories.from_lists([[3, 9, 5], [7], [1]]))
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    np.testing.assert_allclose(ndcg(judged, 3), [(1 + 1 / math.log2(3)) / ideal, 0, 0])
    np.testing.assert_allclose(ndcg(judged, 1), [1, 0, 0])  # the ideal list has one place only
    np.testing.assert_allclose(recall(judged, 3), [2 / 3, 0, 0])
    np.testing.assert_allclose(hit_rate(judged, 1), [1, 0, 0])
    np.testing.assert_allclose(mean_reciprocal_rank(judged, 3), [1, 0, 0])
    assert judged.positions.tolist() == [1, MISSED, 0, MISSED, MISSED]


def test_reciprocal_rank_takes_the_first_hit() -> None:
    judged = judge(lists_of([[8, 7, 6, 5]]), Histories.from_lists([[5, 7]]))
    assert mean_reciprocal_rank(judged, 4).tolist() == [0.5]
    assert mean_reciprocal_rank(judged, 1).tolist() == [0.0]


def test_items_outside_the_catalogue_are_misses() -> None:
    judged = judge(lists_of([[0, 1]]), Histories.from_lists([[0, -1, -1]]))
    assert judged.n_wanted.tolist() == [3]
    np.testing.assert_allclose(recall(judged, 2), [1 / 3])


def test_a_repeated_query_item_counts_once() -> None:
    judged = judge(lists_of([[4]]), Histories.from_lists([[4, 4, 2]]))
    np.testing.assert_allclose(recall(judged, 1), [0.5])


def test_empty_query_is_refused_with_its_row() -> None:
    with pytest.raises(ArgumentError, match="query row 1 is empty"):
        judge(lists_of([[1], [2]]), Histories.from_lists([[1], []]))
    with pytest.raises(ArgumentError, match="same rows"):
        judge(lists_of([[1]]), Histories.from_lists([[1], [2]]))
    with pytest.raises(ArgumentError, match="at least 1"):
        ndcg(judge(lists_of([[1]]), Histories.from_lists([[1]])), 0)


def test_strata_hold_a_third_of_the_events_each() -> None:
    popularity = np.array([1, 60, 30, 30, 30, 29, 0])
    assert popularity_strata(popularity).tolist() == [2, 0, 1, 1, 2, 2, 2]
    assert popularity_strata(np.zeros(2)).tolist() == [2, 2]


def test_recall_by_stratum_leaves_out_users_who_want_none_of_it() -> None:
    strata = np.array([0, 0, 2, 2])
    judged = judge(lists_of([[0, 2], [3]]), Histories.from_lists([[0, 1, 2], [1, -1]]))
    np.testing.assert_allclose(recall_in_stratum(judged, 2, strata, 0), [0.5, 0.0])
    np.testing.assert_allclose(recall_in_stratum(judged, 2, strata, 2), [1.0, np.nan])
    np.testing.assert_allclose(recall_in_stratum(judged, 2, strata, -1), [np.nan, 0.0])


def test_coverage_counts_items_of_any_list() -> None:
    assert covered(lists_of([[0, 1, 2], [1], []]), 2, 4).tolist() == [True, True, False, False]


@pytest.mark.filterwarnings("ignore")
def test_agrees_with_ranx(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    # Compiling takes a minute, the plain Python of forty lists none.
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    from ranx import Qrels, Run
    from ranx import evaluate as ranx_evaluate

    rng = np.random.default_rng(3)
    rows = [rng.permutation(60)[: rng.integers(5, 30)].tolist() for _ in range(40)]
    wanted = [rng.permutation(60)[: rng.integers(1, 14)].tolist() for _ in range(40)]
    judged = judge(lists_of(rows), Histories.from_lists(wanted))
    qrels = Qrels({str(u): {str(i): 1 for i in row} for u, row in enumerate(wanted)})
    run = Run({str(u): {str(i): 100.0 - p for p, i in enumerate(row)} for u, row in enumerate(rows)})
    ours = {
        "ndcg@10": ndcg(judged, 10),
        "recall@20": recall(judged, 20),
        "hit_rate@10": hit_rate(judged, 10),
        "mrr@20": mean_reciprocal_rank(judged, 20),
    }
    theirs = ranx_evaluate(qrels, run, list(ours), return_mean=False, make_comparable=True)
    order = np.argsort(sorted(range(40), key=str))  # ranx sorts queries by their names
    for name, values in ours.items():
        np.testing.assert_allclose(values, np.asarray(theirs[name])[order], atol=1e-12, err_msg=name)
