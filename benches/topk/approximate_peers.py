"""Approximate peers: known indices, each tuned to the least effort that finds `RECALL` of the best ten."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from topk.contender import Call, Contender
from topk.exact_peers import Workload
from topk.threads import Threads

RECALL = 0.95
TUNED_ON = 256
"""Queries that recall is measured on."""

BEAMS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
"""Efforts of a graph search."""

OWN = "metarec approximate"

Search = Callable[[np.ndarray, int, int], np.ndarray]
"""(queries, k, threads) to items [b, k]."""


@dataclass(frozen=True)
class Index:
    """A built index: families of settings, each from the least effort upwards."""

    families: Sequence[Iterable[tuple[str, Callable[[], Search]]]]
    """A setting is a note and what applies it; the search that it gives is called next."""


def contenders(work: Workload, truth: np.ndarray, threads: Threads, most: int) -> dict[str, list[Contender]]:
    """Each index at its setting, for 1 to ``most`` threads. ``truth`` is the exact lists i[b, k] of the
    first `TUNED_ON` queries, or of fewer."""
    makers = {
        "faiss HNSW": faiss_hnsw,
        "faiss IVF": faiss_ivf,
        "hnswlib": hnswlib_index,
        "usearch HNSW": usearch_hnsw,
        "scann": scann_index,
        OWN: metarec_approximate,
    }
    found: dict[str, list[Contender]] = {}
    for name, make in makers.items():
        threads.set(most)
        try:
            index = make(work.vectors.items, most)
        except ImportError:
            if name != "scann":
                raise
            continue  # it has no wheel for some machines
        note, apply, recall = tune(index, work.vectors.queries[: len(truth)], work.cell.k, truth)
        for count in range(most if name == OWN else 1, most + 1):
            call = _call(work, apply, count)
            entry = Contender(name, call, count, ours=name == OWN, exact=False, note=note, recall=recall)
            found[f"{name}, {count}"] = [entry]
    return found


def _call(work: Workload, apply: Callable[[], Search], threads: int) -> Call:
    return lambda users: apply()(work.vectors.queries[:users], work.cell.k, threads)


def tune(
    index: Index, queries: np.ndarray, k: int, truth: np.ndarray
) -> tuple[str, Callable[[], Search], float]:
    """The fastest of each family's first setting that reaches `RECALL`; where none does, that of the best
    recall, and the record says so."""
    reached: list[tuple[float, str, Callable[[], Search], float]] = []
    best: tuple[float, str, Callable[[], Search]] | None = None
    for family in index.families:
        for note, apply in family:
            search = apply()
            started = time.perf_counter()
            found = search(queries, k, 1)
            seconds = time.perf_counter() - started
            recall = shared(found, truth)
            if best is None or recall > best[0]:
                best = recall, note, apply
            if recall >= RECALL:
                reached.append((seconds, note, apply, recall))
                break
    if reached:
        _, note, apply, recall = min(reached, key=lambda entry: entry[0])
        return note, apply, recall
    assert best is not None
    return f"{best[1]}, recall not reached", best[2], best[0]


def shared(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true lists that was found."""
    hits = sum(len(np.intersect1d(some, true)) for some, true in zip(found, truth))
    return hits / truth.size


def faiss_hnsw(items: np.ndarray, threads: int) -> Index:
    import faiss

    index = faiss.IndexHNSWFlat(items.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    index.add(items)

    def setting(beam: int) -> Callable[[], Search]:
        def apply() -> Search:
            index.hnsw.efSearch = beam
            return lambda queries, k, _: index.search(queries, k)[1]

        return apply

    return Index([[(f"M=32, ef={beam}", setting(beam)) for beam in BEAMS]])


def faiss_ivf(items: np.ndarray, threads: int) -> Index:
    import faiss

    n, d = items.shape
    families = []
    for lists in sorted({int(np.sqrt(n)), min(4 * int(np.sqrt(n)), n // 39)}):  # 39 points train a list
        index = faiss.index_factory(d, f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(items)
        index.add(items)

        def setting(probes: int, index: faiss.IndexIVF = index) -> Callable[[], Search]:
            def apply() -> Search:
                index.nprobe = probes
                return lambda queries, k, _: index.search(queries, k)[1]

            return apply

        probes = [2**power for power in range(12) if 2**power <= lists]
        families.append([(f"{lists} lists, nprobe={count}", setting(count)) for count in probes])
    return Index(families)


def hnswlib_index(items: np.ndarray, threads: int) -> Index:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=items.shape[1])
    index.init_index(max_elements=len(items), M=32, ef_construction=200, random_seed=1)
    index.add_items(items, num_threads=threads)

    def setting(beam: int) -> Callable[[], Search]:
        def apply() -> Search:
            index.set_ef(beam)
            return lambda queries, k, at: index.knn_query(queries, k, num_threads=at)[0]

        return apply

    return Index([[(f"M=32, ef={beam}", setting(beam)) for beam in BEAMS]])


def usearch_hnsw(items: np.ndarray, threads: int) -> Index:
    from usearch.index import Index as Graph

    index = Graph(ndim=items.shape[1], metric="ip", dtype="f32", connectivity=32, expansion_add=200)
    index.add(np.arange(len(items)), items, threads=threads)

    def setting(beam: int) -> Callable[[], Search]:
        def apply() -> Search:
            index.expansion_search = beam

            def search(queries: np.ndarray, k: int, at: int) -> np.ndarray:
                return np.asarray(index.search(queries, k, threads=at).keys).reshape(len(queries), k)

            return search

        return apply

    return Index([[(f"M=32, ef={beam}", setting(beam)) for beam in BEAMS]])


def metarec_approximate(items: np.ndarray, threads: int) -> Index:
    """The same graph with our filters and exact scores; it searches with the threads of its process."""
    from metarec_sdk.ranking import ApproximateIndex

    index = ApproximateIndex(items, connectivity=32, expansion_add=200, build_threads=threads)

    def setting(beam: int) -> Callable[[], Search]:
        def apply() -> Search:
            index.expansion_search = beam
            return lambda queries, k, _: index.topk(queries, k).items.reshape(len(queries), k)

        return apply

    return Index([[(f"M=32, ef={beam}", setting(beam)) for beam in BEAMS]])


def scann_index(items: np.ndarray, threads: int) -> Index:
    from scann import scann_ops_pybind

    leaves = int(np.sqrt(len(items)))
    index = (
        scann_ops_pybind.builder(items, 10, "dot_product")
        .tree(leaves, leaves // 10, training_sample_size=min(len(items), 250_000))
        .score_ah(2, anisotropic_quantization_threshold=0.2)
        .reorder(100)
        .build()
    )

    def setting(searched: int, rescored: int) -> Callable[[], Search]:
        def search(queries: np.ndarray, k: int, at: int) -> np.ndarray:
            if len(queries) == 1:
                return index.search(queries[0], k, rescored, searched)[0][None]
            if at == 1:
                return index.search_batched(queries, k, rescored, searched)[0]
            index.set_num_threads(at)
            size = -(-len(queries) // at)
            return index.search_batched_parallel(queries, k, rescored, searched, batch_size=size)[0]

        return lambda: search

    families = [
        [
            (f"{leaves} leaves, {searched} searched, {rescored} rescored", setting(searched, rescored))
            for searched in sorted({max(1, leaves // part) for part in (64, 32, 16, 10, 7, 5, 3, 2, 1)})
        ]
        for rescored in (30, 60, 100, 200, 400)
    ]
    return Index(families)
