"""Approximate top-K over a graph of usearch, rescored exactly: for clustered vectors of one length."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from metarec_sdk import _core
from metarec_sdk.errors import ArgumentError, MissingDependencyError
from metarec_sdk.ranking.arguments import as_array, as_mask, as_rows, bounded
from metarec_sdk.ranking.item_index import MAX_K, ItemIndex, Rows
from metarec_sdk.types import Bool, Float32, Int32, Int64, TopK

if TYPE_CHECKING:
    from usearch.index import Index

EXACT_SHARE = 0.02
"""Share of the catalogue from which the exact scan is used: a search that holds c candidates compares the
query with some 20 · c items, one by one and out of order."""


class ApproximateIndex:
    """Top-K that may miss items, by a search in a graph (HNSW: Malkov & Yashunin, 2018) of usearch.

    Never a default. It pays for vectors of one length in clusters, such as text or image embeddings: there a
    short walk finds nearly everything. It doesn't for vectors whose lengths vary, such as those of matrix
    factorisation, nor for unclustered ones: the exact `ItemIndex` is about as fast there and misses nothing.
    Measure `recall` on your own vectors before you rely on it.

    The graph only proposes candidates, ``k · oversampling`` of them. They are rescored by the exact index, so
    that the scores are the bits that `ItemIndex.topk` returns, equal scores are ordered by item index, and no
    excluded item comes back. A row that has too few candidates left after its filters gets four times as
    many, and the exact scan once they are a fiftieth of the catalogue; so a catalogue of up to ``50 · k ·
    oversampling`` items is always scanned. A list is short only where fewer items are admitted.

    The graph is over inner products as they are. Appending ``√(M² − ‖x‖²)`` to each item, so that all have
    one length (Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation for
    inner-product spaces", 2014), found as many or fewer of the best items at the same effort on all vectors
    that were tried. A bias becomes one more dimension, which is 1 in the queries.

    Memory is that of `ItemIndex` and of the graph, which holds the vectors once more and ``connectivity``
    links or more for each item. Safe to use from many threads, which take turns in the graph.
    """

    __slots__ = ("_biased", "_exact", "_expansion_search", "_graph", "_lock", "_oversampling", "_threads")

    def __init__(
        self,
        matrix: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        connectivity: int = 16,
        expansion_add: int = 128,
        expansion_search: int = 64,
        oversampling: int = 2,
        build_threads: int = 1,
    ) -> None:
        """Build the graph; about a minute for 100,000 items of 64 dimensions on one thread.

        Args:
            matrix: f32[n, d]; other numbers are converted. n and d may be 0.
            bias: f32[n], added to the items' scores; 0 when left out.
            connectivity: Links of each item, 2 to 256.
            expansion_add: Candidates held while building, 1 to 10,000; more find better links.
            expansion_search: Candidates held while searching, 1 to 10,000; more find more of the best items.
            oversampling: Candidates for each item of the list, 1 to 100.
            build_threads: With 1 the same matrix gives the same graph, hence the same lists. More build
                faster, and which items are missed then differs from build to build.

        Raises:
            ArgumentError: For a wrong shape or dtype, NaN or infinity, or a number out of range.
            MissingDependencyError: Without usearch, which comes with ``metarec-sdk[ann]``.
        """
        links = bounded("connectivity", connectivity, 2, 256)
        while_adding = bounded("expansion_add", expansion_add, 1, 10_000)
        self._expansion_search = bounded("expansion_search", expansion_search, 1, 10_000)
        self._oversampling = bounded("oversampling", oversampling, 1, 100)
        threads = bounded("build_threads", build_threads, 1, 1024)
        rows = as_array("matrix", matrix, np.float32, 2)
        self._exact = ItemIndex(rows, bias)
        self._biased = bias is not None
        if bias is not None:
            rows = np.column_stack([rows, as_array("bias", bias, np.float32, 1)])
        self._threads = _core.threads()
        self._lock = threading.Lock()
        self._graph: Index | None = None
        if rows.size:
            self._graph = _empty_graph(rows.shape[1], links, while_adding, self._expansion_search)
            self._graph.add(np.arange(len(rows)), rows, threads=threads)

    @property
    def exact(self) -> ItemIndex:
        """The exact index over the same items."""
        return self._exact

    @property
    def expansion_search(self) -> int:
        """Candidates held while searching; set it to trade time for `recall` without building again."""
        return self._expansion_search

    @expansion_search.setter
    def expansion_search(self, value: int) -> None:
        self._expansion_search = bounded("expansion_search", value, 1, 10_000)
        if self._graph is not None:
            with self._lock:
                # usearch declares the two setters in an order that type checkers don't follow.
                self._graph.expansion_search = self._expansion_search  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self._exact)

    def __repr__(self) -> str:
        return f"ApproximateIndex(n_items={len(self)}, width={self._exact.width})"

    def topk(
        self,
        queries: ArrayLike,
        k: int,
        *,
        exclude: Rows | None = None,
        allow: ArrayLike | None = None,
        deny: ArrayLike | None = None,
    ) -> TopK:
        """The k best admitted items of each query among those that the graph finds.

        Args:
            queries: f32[b, d].
            k: List length, 0 to `MAX_K`.
            exclude: Items that each row must not get.
            allow: bool[n] mask or array of item indices: only these come back.
            deny: bool[n] mask or array of item indices: these never come back, even if allowed.

        Returns:
            Lists of b rows by descending score, then ascending item index, with the scores of `ItemIndex`.

        Raises:
            ArgumentError: As for `ItemIndex.topk`.
        """
        count = bounded("k", k, 0, MAX_K)
        query = as_array("queries", queries, np.float32, 2)
        # The exact index checks them, in the same words; with nothing admitted it has nothing else to do.
        self._exact.topk(query, 0, exclude=exclude, allow=np.zeros(len(self), np.bool_))
        admitted = np.ones(len(self), np.bool_)
        if allow is not None:
            admitted &= as_mask("allow", allow, len(self))
        if deny is not None:
            admitted &= ~as_mask("deny", deny, len(self))
        excluded = None if exclude is None else as_rows("exclude", exclude)
        return self._search(query, count, admitted, excluded)

    def recall(self, queries: ArrayLike, k: int, *, sample: int = 256) -> float:
        """The share of the exact lists that comes back, without filters.

        Args:
            queries: f32[b, d], of the kind that will be asked; a random sample of them is looked at.
            k: List length, 1 to `MAX_K`.
            sample: Rows at most. Their choice is always the same.

        Raises:
            ArgumentError: As for `topk`, and for no queries or an empty catalogue, which have no recall.
        """
        count = bounded("k", k, 1, MAX_K)
        rows = bounded("sample", sample, 1, 1_000_000)
        query = as_array("queries", queries, np.float32, 2)
        if len(query) == 0 or len(self) == 0:
            raise ArgumentError(
                f"recall needs queries and items, got {len(query)} queries and {len(self)} items"
            )
        if len(query) > rows:
            query = query[np.sort(np.random.default_rng(0).choice(len(query), rows, replace=False))]
        wanted = _pairs(self._exact.topk(query, count), len(self))
        found = _pairs(self.topk(query, count), len(self))
        return float(np.isin(wanted, found, assume_unique=True).mean())

    def _search(self, query: Float32, k: int, admitted: Bool, excluded: tuple[Int64, Int32] | None) -> TopK:
        n, b = len(self), len(query)
        passing = int(admitted.sum())
        offsets, items = (np.zeros(b + 1, np.int64), np.empty(0, np.int32)) if excluded is None else excluded
        # A number for each excluded pair of row and item that is admitted otherwise.
        keys = np.unique(np.repeat(np.arange(b), np.diff(offsets)) * n + items)
        keys = keys[admitted[keys % max(n, 1)]]
        least = np.minimum(k, passing - np.bincount(keys // max(n, 1), minlength=b))
        width = math.ceil(k * self._oversampling * n / passing) if passing else n
        open_rows = np.arange(b)
        parts: list[tuple[Int64, Int64]] = []
        while self._graph is not None and len(open_rows) and k and width < EXACT_SHARE * n:
            rows, candidates = self._walk(self._graph, query[open_rows], width)
            rows = open_rows[rows]
            passes = admitted[candidates] & ~_among(rows * n + candidates, keys)
            rows, candidates = rows[passes], candidates[passes]
            enough = np.bincount(rows, minlength=b) >= least
            done = enough[rows]
            parts.append((rows[done], candidates[done]))
            open_rows = open_rows[~enough[open_rows]]
            width *= 4
        if len(open_rows):
            parts.append(self._scan(query, k, admitted, (offsets, items), open_rows))
        rows = np.concatenate([np.empty(0, np.int64), *(part[0] for part in parts)])
        candidates = np.concatenate([np.empty(0, np.int64), *(part[1] for part in parts)])
        return self._rescore(query, k, rows, candidates)

    def _walk(self, graph: Index, query: Float32, count: int) -> tuple[Int64, Int64]:
        """Rows i64[e] and items i64[e] of up to ``count`` candidates for each query."""
        if self._biased:
            query = np.column_stack([query, np.ones(len(query), np.float32)])
        with self._lock:
            matches = graph.search(query, count, threads=self._threads)
        keys = np.atleast_2d(matches.keys)  # [b, count]; the row of one query is cut to what was found
        counts = getattr(matches, "counts", np.array([keys.shape[1]]))
        found = np.arange(keys.shape[1]) < counts[:, None]  # [b, count]
        return np.nonzero(found)[0], keys[found].astype(np.int64)

    def _scan(
        self, query: Float32, k: int, admitted: Bool, excluded: tuple[Int64, Int32], rows: Int64
    ) -> tuple[Int64, Int64]:
        """Rows and items of the exact lists of some rows."""
        offsets, items = excluded
        lengths = np.diff(offsets)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        place = np.arange(starts[-1]) + np.repeat(offsets[rows] - starts[:-1], lengths)
        exact = self._exact.topk(query[rows], k, exclude=(starts, items[place]), allow=admitted)
        return np.repeat(rows, np.diff(exact.offsets)), np.asarray(exact.items, np.int64)

    def _rescore(self, query: Float32, k: int, rows: Int64, candidates: Int64) -> TopK:
        """The k best of the candidates of each row, by their exact scores."""
        b = len(query)
        order = np.argsort(rows, kind="stable")
        rows, candidates = rows[order], candidates[order]
        offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=b))]).astype(np.int64)
        scores = self._exact.scores_at(query, (offsets, candidates.astype(np.int32)))
        order = np.lexsort((candidates, -scores, rows))
        kept = order[np.arange(len(rows)) - offsets[rows] < k]
        lengths = np.minimum(np.diff(offsets), k)
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return TopK(ends, candidates[kept], scores[kept])


def _empty_graph(width: int, connectivity: int, expansion_add: int, expansion_search: int) -> Index:
    try:
        from usearch.index import Index
    except ImportError as error:
        raise MissingDependencyError.extra("usearch", "ann", "the approximate index") from error
    return Index(
        ndim=width,
        metric="ip",
        dtype="f32",
        connectivity=connectivity,
        expansion_add=expansion_add,
        expansion_search=expansion_search,
    )


def _pairs(lists: TopK, n: int) -> Int64:
    """i64[e], a number for each pair of row and item."""
    pairs: Int64 = np.repeat(np.arange(len(lists.offsets) - 1), np.diff(lists.offsets)) * n + lists.items
    return pairs


def _among(values: Int64, ordered: Int64) -> Bool:
    """Which values stand in a sorted array."""
    if len(ordered) == 0:
        return np.zeros(len(values), np.bool_)
    place = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    among: Bool = ordered[place] == values
    return among
