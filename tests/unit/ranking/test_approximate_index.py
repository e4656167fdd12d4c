"""The approximate index: what it finds, what it never returns, and that its scores are the exact ones."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError, MissingDependencyError
from metarec_sdk.ranking import ApproximateIndex, ItemIndex
from metarec_sdk.types import TopK

N, WIDTH, B = 6_000, 32, 64


def clustered(rng: np.random.Generator, centres: np.ndarray, count: int) -> np.ndarray:
    """f32[count, d], points of length 1 around the centres."""
    noise = rng.standard_normal((count, centres.shape[1])) * 0.5 / np.sqrt(centres.shape[1])
    points = centres[rng.integers(len(centres), size=count)] + noise
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


RNG = np.random.default_rng(5)
CENTRES = RNG.standard_normal((60, WIDTH))
CENTRES /= np.linalg.norm(CENTRES, axis=1, keepdims=True)
ITEMS = clustered(RNG, CENTRES, N)
QUERIES = clustered(RNG, CENTRES, B)


@pytest.fixture(scope="module")
def index() -> ApproximateIndex:
    return ApproximateIndex(ITEMS)


def rows_of(lists: TopK) -> list[np.ndarray]:
    return np.split(lists.items, lists.offsets[1:-1])


def assert_scores_are_exact(lists: TopK, exact: ItemIndex, queries: np.ndarray) -> None:
    """The same bits as the exact index gives, in its order."""
    scores = exact.scores_at(queries, (lists.offsets, lists.items.astype(np.int32)))
    np.testing.assert_array_equal(lists.scores.view(np.int32), scores.view(np.int32))
    for start, stop in zip(lists.offsets[:-1], lists.offsets[1:]):
        row = list(zip(-scores[start:stop], lists.items[start:stop]))
        assert row == sorted(row)
        assert len(set(lists.items[start:stop])) == stop - start


def test_it_walks_the_graph_and_finds_nearly_all_of_clustered_items_of_one_length(index, monkeypatch):
    def no_scan(*_: Any) -> None:
        raise AssertionError("this should not need the exact scan")

    exact = index.exact.topk(QUERIES, 10)
    monkeypatch.setattr(ApproximateIndex, "_scan", no_scan)
    found = index.topk(QUERIES, 10)
    assert_scores_are_exact(found, index.exact, QUERIES)
    shared = [len(np.intersect1d(*pair)) for pair in zip(rows_of(found), rows_of(exact))]
    assert np.sum(shared) / (10 * B) >= 0.95
    assert index.recall(QUERIES, 10) == np.sum(shared) / (10 * B)


def test_recall_tells_when_the_graph_misses_much():
    rng = np.random.default_rng(2)
    scattered = rng.standard_normal((N, WIDTH), np.float32)
    lazy = ApproximateIndex(scattered, connectivity=2, expansion_add=1, expansion_search=1, oversampling=1)
    assert lazy.recall(rng.standard_normal((B, WIDTH), np.float32), 10) < 0.7


def test_a_wider_search_finds_more_without_building_again():
    rng = np.random.default_rng(2)
    index = ApproximateIndex(rng.standard_normal((N, WIDTH), np.float32), expansion_search=1, oversampling=1)
    queries = rng.standard_normal((B, WIDTH), np.float32)
    narrow = index.recall(queries, 10)
    index.expansion_search = 400
    assert index.expansion_search == 400
    assert index.recall(queries, 10) > narrow + 0.1
    with pytest.raises(ArgumentError, match="expansion_search must be from 1"):
        index.expansion_search = 0


def test_lengths_and_a_bias_count():
    rng = np.random.default_rng(3)
    items = ITEMS * rng.lognormal(0, 0.5, (N, 1)).astype(np.float32)
    bias = rng.standard_normal(N).astype(np.float32)
    index = ApproximateIndex(items, bias, expansion_search=256)
    found = index.topk(QUERIES, 10)
    assert_scores_are_exact(found, ItemIndex(items, bias), QUERIES)
    assert index.recall(QUERIES, 10) >= 0.95


def test_what_is_left_out_never_comes_back_and_lists_stay_full(index):
    best = rows_of(index.exact.topk(QUERIES, 400))
    excluded = [row[: 5 * (place % 60)] for place, row in enumerate(best)]
    offsets = np.cumsum([0, *map(len, excluded)])
    deny, allow = best[0][::7], np.flatnonzero(np.arange(N) % 3)
    filters: dict[str, Any] = {"exclude": (offsets, np.concatenate(excluded)), "allow": allow, "deny": deny}
    found = index.topk(QUERIES, 10, **filters)
    assert_scores_are_exact(found, index.exact, QUERIES)
    assert (np.diff(found.offsets) == 10).all()
    for row, left_out in zip(rows_of(found), excluded):
        assert not np.isin(row, left_out).any()
    assert np.isin(found.items, allow).all()
    assert not np.isin(found.items, deny).any()
    exact = index.exact.topk(QUERIES, 10, **filters)
    shared = [len(np.intersect1d(*pair)) for pair in zip(rows_of(found), rows_of(exact))]
    assert np.sum(shared) / (10 * B) >= 0.95


def test_repeated_exclusions_leave_a_list_full(index):
    best = index.exact.topk(QUERIES[:1], 1).items
    found = index.topk(QUERIES[:1], 10, exclude=([0, N], np.repeat(best, N)))
    assert len(found.items) == 10
    assert best[0] not in found.items


def test_one_query_gets_what_it_gets_in_a_batch(index):
    batch = rows_of(index.topk(QUERIES, 10))
    for row in range(3):
        np.testing.assert_array_equal(index.topk(QUERIES[row : row + 1], 10).items, batch[row])


def test_the_same_matrix_gives_the_same_lists(index):
    again = ApproximateIndex(ITEMS).topk(QUERIES, 10)
    first = index.topk(QUERIES, 10)
    np.testing.assert_array_equal(first.items, again.items)
    np.testing.assert_array_equal(first.scores, again.scores)


def test_built_by_two_threads():
    index = ApproximateIndex(ITEMS, build_threads=2)
    assert_scores_are_exact(index.topk(QUERIES, 10), index.exact, QUERIES)
    assert index.recall(QUERIES, 10) >= 0.95


def test_equal_scores_are_ordered_by_item(index):
    doubled = ApproximateIndex(np.concatenate([ITEMS[:3_000], ITEMS[:3_000]]))
    found = doubled.topk(QUERIES, 10)
    assert_scores_are_exact(found, doubled.exact, QUERIES)
    assert (np.diff(found.scores) == 0).any()


@pytest.mark.parametrize("k", [0, 1, N - 1, N, N + 7])
def test_k_from_nothing_to_more_than_everything(index, k):
    found = index.topk(QUERIES[:2], k)
    assert (np.diff(found.offsets) == min(k, N)).all()
    if k != 1:
        np.testing.assert_array_equal(found.items, index.exact.topk(QUERIES[:2], k).items)


@pytest.mark.parametrize(("n", "d"), [(0, 8), (5, 8), (5, 0), (5_000, 0), (0, 0)])
def test_small_and_empty_catalogues(n, d):
    items = np.random.default_rng(0).standard_normal((n, d), np.float32)
    queries = np.random.default_rng(1).standard_normal((3, d), np.float32)
    index = ApproximateIndex(items)
    found, exact = index.topk(queries, 7), ItemIndex(items).topk(queries, 7)
    np.testing.assert_array_equal(found.offsets, exact.offsets)
    np.testing.assert_array_equal(found.items, exact.items)
    assert len(index) == n


def test_no_queries_and_nothing_admitted(index):
    assert len(index.topk(QUERIES[:0], 10)) == 0
    assert len(index.topk(QUERIES, 10, allow=[]).items) == 0
    everything = (np.array([0, N, N]), np.arange(N))
    np.testing.assert_array_equal(np.diff(index.topk(QUERIES[:2], 10, exclude=everything).offsets), [0, 10])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"queries": QUERIES[:, :3]}, "queries have 3 columns, expected 32"),
        ({"queries": np.full((1, WIDTH), np.nan)}, "queries holds NaN at row 0"),
        ({"k": -1}, "k must be from 0"),
        ({"exclude": ([0, 1], [N])}, f"exclude is item {N} at position 0"),
        ({"exclude": ([0, 1, 1], [0])}, "exclude has 2 rows, expected 1 rows"),
        ({"deny": [N]}, f"deny has item {N} at position 0"),
        ({"allow": [True]}, "allow is a mask of 1 items"),
    ],
)
def test_refuses_what_the_exact_index_refuses(index, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        index.topk(**({"queries": QUERIES[:1], "k": 3} | arguments))


@pytest.mark.parametrize(
    "setting", ["connectivity", "expansion_add", "expansion_search", "oversampling", "build_threads"]
)
def test_settings_have_bounds(setting):
    with pytest.raises(ArgumentError, match=f"{setting} must be from"):
        ApproximateIndex(ITEMS[:10], **{setting: 0})


def test_recall_needs_queries_and_items(index):
    with pytest.raises(ArgumentError, match="got 0 queries"):
        index.recall(QUERIES[:0], 10)
    with pytest.raises(ArgumentError, match="0 items"):
        ApproximateIndex(ITEMS[:0]).recall(QUERIES, 10)


def test_recall_looks_at_a_sample(index):
    assert index.recall(QUERIES, 10, sample=5) == index.recall(QUERIES, 10, sample=5)
    with pytest.raises(ArgumentError, match="sample must be from 1"):
        index.recall(QUERIES, 10, sample=0)


def test_without_usearch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'metarec-sdk\[ann\]'"):
        ApproximateIndex(ITEMS[:10])


def test_importing_the_package_does_not_import_usearch():
    program = "import sys, metarec_sdk.ranking; sys.exit('usearch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
