"""One process of a run: the cells of one thread count, one after the other."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _record import machine

from topk import ceilings, record
from topk.cells import Cell
from topk.contender import Contender
from topk.embeddings import Vectors, make, seen_items
from topk.ours import Ours, Seen
from topk.threads import REFUSED, Threads
from topk.timing import Timed, Timing

AGREEMENT = 0.98
"""Share of places where an exact peer has the same item as the reference; rounding orders some otherwise."""


class Run:
    """Measures cells and writes their rows."""

    def __init__(self, name: str, mode: str, table: Path, seconds: float, found: ceilings.Ceilings) -> None:
        refused = [variable for variable in REFUSED if variable in os.environ]
        if refused:
            raise SystemExit(f"{refused[0]} is set, which slows peers down; run: make bench-topk")
        self._table = table
        self._ceilings = found
        self._threads = Threads()
        self._timing = Timing(self._threads, seconds)
        self._about = record.circumstances(name, mode)
        self._isa = machine()["isa"]
        self._made: tuple[tuple[str, int, int], Vectors, Ours] | None = None

    def cell(self, cell: Cell) -> None:
        """Check everybody, time them, write the rows.

        Raises:
            SystemExit: where one of our lists is off by a bit, or an exact peer ranks something else.
        """
        started = time.perf_counter()
        if cell.kind == "build":
            vectors = make(cell)
            entries, agreement, rescored = self._build(cell, vectors), {}, {}
        else:
            vectors, ours = self._ours(cell)
            entries, agreement, rescored = self._lists(cell, vectors, ours)
        self._timing.run(cell, entries)
        rows = [
            self._row(cell, vectors, entry, _baseline(entries, entry), agreement, rescored)
            for entry in entries
        ]
        record.append(self._table, rows)
        _show(cell, entries, time.perf_counter() - started)

    def _ours(self, cell: Cell) -> tuple[Vectors, Ours]:
        key = cell.embedding, cell.items, cell.width
        if self._made is None or self._made[0] != key:
            self._made = None  # room for the next
            vectors = make(cell)
            self._made = key, vectors, Ours(vectors)
        return self._made[1], self._made[2]

    def _lists(
        self, cell: Cell, vectors: Vectors, ours: Ours
    ) -> tuple[list[Timed], dict[str, float], dict[str, float]]:
        """The contenders that take part, checked; agreement and rescored items by name."""
        from topk import approximate_peers, exact_peers

        seen = seen_items(vectors, cell.batch) if cell.kind == "seen" else None
        work = exact_peers.Workload(cell, vectors, seen)
        entries, rescored, truths = [], {}, {}
        for contender in ours.contenders(cell, seen):
            self._threads.set(cell.threads)
            truths[contender.seen] = ours.check(cell, contender, seen)
            told = ours.rescored()
            if told is not None:
                rescored[contender.name] = told
            entries.append(self._timing.trial(cell, [contender]))
        agreement: dict[str, float] = {}
        if cell.kind == "approximate":
            truth = truths[False]
            if len(truth) < approximate_peers.TUNED_ON:
                truth = _truth(ours, cell, seen, approximate_peers.TUNED_ON)
            truth = truth[: approximate_peers.TUNED_ON]
            peers = approximate_peers.contenders(work, truth, self._threads, cell.threads)
            for settings in peers.values():
                agreement[settings[0].name] = settings[0].recall or 0.0
                entries.append(self._timing.trial(cell, settings))
            return entries, agreement, rescored
        for threads in range(1, cell.threads + 1):
            for settings in exact_peers.contenders(work, threads).values():
                entry = self._timing.trial(cell, settings)
                agreement[entry.contender.name] = _agreement(cell, entry, truths)
                entries.append(entry)
        return entries, agreement, rescored

    def _build(self, cell: Cell, vectors: Vectors) -> list[Timed]:
        """Making the index, against copying the matrix and against the peer's index for a scan."""
        import faiss

        from metarec_sdk.ranking import ItemIndex

        def flat(_: int) -> Any:
            index = faiss.IndexFlatIP(cell.width)
            index.add(vectors.items)
            return index

        makers = [
            Contender("metarec", lambda _: ItemIndex(vectors.items), cell.threads, ours=True),
            Contender("numpy copy", lambda _: vectors.items.copy(), 1),
            Contender("faiss flat", flat, cell.threads),
        ]
        return [self._timing.trial(cell, [contender]) for contender in makers]

    def _row(
        self,
        cell: Cell,
        vectors: Vectors,
        entry: Timed,
        baseline: float,
        agreement: dict[str, float],
        rescored: dict[str, float],
    ) -> dict[str, Any]:
        contender, n = entry.contender, len(vectors.items)
        row: dict[str, Any] = {
            **self._about,
            "cell": cell.name,
            "data": vectors.source,
            "n": n,
            "d": cell.width,
            "batch": cell.batch,
            "k": cell.k,
            "contender": contender.name,
            "ours": int(contender.ours),
            "exact": int(contender.exact),
            "threads": contender.threads,
            "note": contender.note,
            "users_timed": entry.users,
            "calls": len(entry.seconds),
            "median_ms": f"{entry.median * 1e3:.5g}",
            "min_ms": f"{min(entry.seconds) * 1e3:.5g}",
            "ratio": f"{entry.median / baseline:.4g}",
        }
        if contender.name in agreement:
            row["agreement"] = f"{agreement[contender.name]:.4f}"
        if contender.name in rescored:
            row["rescored_per_user"] = f"{rescored[contender.name]:.4g}"
        bound = ceilings.limit(cell, contender, n, self._isa, self._ceilings)
        if bound is not None:
            row["limit"], row["share"] = bound[0], f"{bound[1] / entry.median:.4f}"
        return row


def _truth(ours: Ours, cell: Cell, seen: Seen | None, users: int) -> np.ndarray:
    return np.asarray(ours.topk(users, cell, seen).items).reshape(users, cell.k)


def _agreement(cell: Cell, entry: Timed, truths: dict[bool, np.ndarray]) -> float:
    """Share of places with our item, after sorting each list by item.

    Raises:
        SystemExit: below `AGREEMENT`.
    """
    answer = entry.contender.call(entry.users)
    lists = np.asarray(answer[0] if isinstance(answer, tuple) else answer)
    truth = truths[entry.contender.seen][: entry.users]
    share = float(np.mean(np.sort(lists, axis=1) == np.sort(truth, axis=1)))
    if share < AGREEMENT:
        raise SystemExit(f"{cell.name}: {entry.contender.name} agrees with the reference on {share:.2%} only")
    return share


def _baseline(entries: list[Timed], entry: Timed) -> float:
    """Our median: with the filter for those with a filter."""
    own = {other.contender.name: other.median for other in entries if other.contender.ours}
    return own["metarec seen"] if entry.contender.seen else own["metarec"]


def _show(cell: Cell, entries: list[Timed], seconds: float) -> None:
    times = "  ".join(
        f"{entry.contender.name}"
        + ("" if entry.contender.ours else f"·{entry.contender.threads}")
        + f" {entry.median * 1e3:.4g}"
        for entry in entries
    )
    print(f"{cell.name} ({seconds:.0f} s), ms: {times}", file=sys.stderr, flush=True)
