"""Exact peers, each with the settings that it may choose from; the fastest one in a trial takes part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from topk.cells import Cell
from topk.contender import Call, Contender
from topk.embeddings import Vectors

CHUNKS = (4_000_000, 100_000_000)
"""Scores that NumPy and torch hold at a time: in a cache, or many at once."""

Seen = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Workload:
    """What a peer gets."""

    cell: Cell
    vectors: Vectors
    seen: Seen | None


Settings = list[tuple[str, Call, int | None]]
"""Note, call, BLAS threads where they differ."""


def contenders(work: Workload, threads: int) -> dict[str, list[Contender]]:
    """For each peer its settings at this thread count."""
    makers: dict[str, Callable[[Workload, int], Settings]] = {
        "numpy": numpy_peer,
        "torch": torch_peer,
        "faiss flat": faiss_peer,
        "implicit": implicit_peer,
        "usearch exact": usearch_peer,
    }
    if work.seen is not None:
        makers = {"implicit": implicit_peer, "implicit seen": implicit_seen, "numpy seen": numpy_seen}
    return {
        name: [
            Contender(name, call, threads, blas, seen=name.endswith("seen"), note=note)
            for note, call, blas in make(work, threads)
        ]
        for name, make in makers.items()
    }


def numpy_peer(work: Workload, threads: int) -> Settings:
    """matmul, argpartition, sort."""
    return [(f"chunks of {chunk:.0e}", _numpy_call(work, chunk, None), None) for chunk in _chunks(work)]


def numpy_seen(work: Workload, threads: int) -> Settings:
    """The same with −∞ at the seen items."""
    return [(f"chunks of {chunk:.0e}", _numpy_call(work, chunk, work.seen), None) for chunk in _chunks(work)]


def _chunks(work: Workload) -> tuple[int, ...]:
    """One setting where everything fits into the smaller chunk."""
    return CHUNKS if work.cell.batch * len(work.vectors.items) > CHUNKS[0] else CHUNKS[:1]


def _numpy_call(work: Workload, chunk: int, seen: Seen | None) -> Call:
    items, queries, k = work.vectors.items, work.vectors.queries, work.cell.k
    rows_at_once = max(1, chunk // len(items))

    def call(users: int) -> np.ndarray:
        found = np.empty((users, k), np.int64)
        for start in range(0, users, rows_at_once):
            stop = min(users, start + rows_at_once)
            part = queries[start:stop]
            # A matrix-vector product for one.
            scores = (items @ part[0])[None] if len(part) == 1 else part @ items.T  # [c, n]
            if seen is not None:
                offsets, left_out = seen
                rows = np.repeat(np.arange(stop - start), np.diff(offsets[start : stop + 1]))
                scores[rows, left_out[offsets[start] : offsets[stop]]] = -np.inf
            best = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
            order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
            found[start:stop] = np.take_along_axis(best, order, axis=1)
        return found

    return call


def torch_peer(work: Workload, threads: int) -> Settings:
    """matmul and topk; outside autograd."""
    import torch

    items = torch.from_numpy(work.vectors.items)
    queries = torch.from_numpy(work.vectors.queries)
    k = work.cell.k

    def setting(chunk: int) -> Call:
        rows_at_once = max(1, chunk // len(items))

        def call(users: int) -> np.ndarray:
            with torch.inference_mode():
                parts = []
                for start in range(0, users, rows_at_once):
                    part = queries[start : min(users, start + rows_at_once)]
                    scores = torch.mv(items, part[0])[None] if len(part) == 1 else part @ items.T  # [c, n]
                    parts.append(torch.topk(scores, k).indices)
                return torch.cat(parts).numpy()

        return call

    return [(f"chunks of {chunk:.0e}", setting(chunk), None) for chunk in _chunks(work)]


def faiss_peer(work: Workload, threads: int) -> Settings:
    """IndexFlatIP."""
    import faiss

    index = faiss.IndexFlatIP(work.vectors.items.shape[1])
    index.add(work.vectors.items)
    return [("", lambda users: index.search(work.vectors.queries[:users], work.cell.k)[1], None)]


def implicit_peer(work: Workload, threads: int) -> Settings:
    """``implicit``'s own top-k, parallel over chunks of 100 users or inside BLAS."""
    from implicit.cpu.topk import topk

    items, queries, k = work.vectors.items, work.vectors.queries, work.cell.k
    return [
        (
            f"{own} threads, BLAS {blas}",
            lambda users, own=own: topk(items, queries[:users], k, num_threads=own)[0],
            blas,
        )
        for own, blas in _splits(threads)
    ]


def implicit_seen(work: Workload, threads: int) -> Settings:
    """The same with its filter."""
    from implicit.cpu.topk import topk
    from scipy.sparse import csr_matrix

    items, queries, k = work.vectors.items, work.vectors.queries, work.cell.k
    assert work.seen is not None
    offsets, left_out = work.seen
    ones = np.ones(len(left_out), np.float32)
    filters = csr_matrix((ones, left_out, offsets), shape=(work.cell.batch, len(items)))

    def setting(own: int) -> Call:
        return lambda users: topk(
            items, queries[:users], k, filter_query_items=filters[:users], num_threads=own
        )[0]

    return [(f"{own} threads, BLAS {blas}", setting(own), blas) for own, blas in _splits(threads)]


def _splits(threads: int) -> list[tuple[int, int]]:
    """(threads of its own, threads of BLAS)."""
    return [(threads, 1), (1, threads)] if threads > 1 else [(1, 1)]


def usearch_peer(work: Workload, threads: int) -> Settings:
    """usearch's exact search."""
    from usearch.index import MetricKind, search

    items, queries, k = work.vectors.items, work.vectors.queries, work.cell.k

    def call(users: int) -> np.ndarray:
        found = search(items, queries[:users], k, MetricKind.IP, exact=True, threads=threads)
        return np.asarray(found.keys).reshape(users, k)

    return [("", call, None)]
