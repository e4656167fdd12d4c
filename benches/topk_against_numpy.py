"""Exact top-K against NumPy's matmul + argpartition and implicit's topk, on the same vectors.

The contenders take turns in one process; the figure is the median of their times. `--clock cpu` counts
this process's CPU time, which other work on the machine disturbs less; it is meant for `--threads 1`. Every
list is checked against NumPy's before anything is timed.

    python benches/topk_against_numpy.py --threads 1 --clock cpu --json topk.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

SHAPES = [(3_700, 64), (50_000, 64), (100_000, 128)]
BATCHES = [1024, 1]
SEEN = 60


def contenders(n: int, d: int, b: int, k: int, threads: int) -> dict[str, Callable[[], Any]]:
    """Each contender answers item indices [b, k], best first; those in " seen" leave out 60 items a row."""
    import numpy as np

    from metarec_sdk.ranking import ItemIndex

    rng = np.random.default_rng(n + d)
    norms = rng.lognormal(0, 0.5, (n, 1))  # popular items have long vectors
    matrix = (norms * rng.standard_normal((n, d))).astype(np.float32)
    queries = rng.standard_normal((b, d)).astype(np.float32)
    rows = [np.unique((n * rng.random(SEEN) ** 3).astype(np.int32)) for _ in range(b)]
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    seen = np.concatenate(rows)
    seen_row = np.repeat(np.arange(b), np.diff(offsets))
    index = ItemIndex(matrix)

    def numpy_topk(exclude: bool) -> Any:
        scores = queries @ matrix.T  # [b, n]
        if exclude:
            scores[seen_row, seen] = -np.inf
        best = np.argpartition(scores, n - k, axis=1)[:, n - k :]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        return np.take_along_axis(best, order, axis=1)

    found: dict[str, Callable[[], Any]] = {
        "metarec": lambda: index.topk(queries, k).items.reshape(b, k),
        "metarec seen": lambda: index.topk(queries, k, exclude=(offsets, seen)).items.reshape(b, k),
        "numpy": lambda: numpy_topk(False),
        "numpy seen": lambda: numpy_topk(True),
    }
    try:
        from implicit.cpu.topk import topk
        from scipy.sparse import csr_matrix
    except ImportError:
        return found
    filters = csr_matrix((np.ones(len(seen), np.float32), seen, offsets), shape=(b, n))
    found["implicit"] = lambda: topk(matrix, queries, k, num_threads=threads)[0]
    found["implicit seen"] = lambda: topk(
        matrix, queries, k, filter_query_items=filters, num_threads=threads
    )[0]
    return found


def check(contenders: dict[str, Callable[[], Any]]) -> None:
    """The same items as NumPy's, but for pairs that rounding orders otherwise."""
    import numpy as np

    for name, rank in contenders.items():
        expected = contenders["numpy seen" if name.endswith("seen") else "numpy"]()
        agreement = np.mean(np.sort(rank(), axis=1) == np.sort(expected, axis=1))
        if agreement < 0.99:
            raise SystemExit(f"{name} agrees with numpy on {agreement:.1%} of the places only")


def measure(
    contenders: dict[str, Callable[[], Any]], clock: Callable[[], float], seconds: float
) -> dict[str, float]:
    """Median seconds of each, taking turns; about `seconds` each, five turns at least."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    turns = 0
    while turns < 5 or (turns < 200 and min(map(sum, times.values())) < seconds):
        for name, rank in contenders.items():
            if turns >= 5 and sum(times[name]) > seconds:
                continue
            start = clock()
            rank()
            times[name].append(clock() - start)
        turns += 1
    return {name: median(values) for name, values in times.items()}


def versions() -> dict[str, str]:
    import numpy as np

    from metarec_sdk import _core

    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "isa": _core.isa(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each contender and shape")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    # Read by the BLAS and by the core when they start.
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "METAREC_NUM_THREADS"):
        os.environ[variable] = str(arguments.threads)
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time

    about = versions() | {"threads": str(arguments.threads), "clock": arguments.clock}
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    figures = []
    for n, d in SHAPES:
        for b in BATCHES:
            ranked = contenders(n, d, b, arguments.k, arguments.threads)
            check(ranked)
            times = measure(ranked, clock, arguments.seconds)
            figures.append({"n": n, "d": d, "b": b, "k": arguments.k, "seconds": times})
            line = [f"{name} {time * 1e3:.3f} ms" for name, time in times.items()]
            line += [
                f"{peer} / metarec{' seen' * peer.endswith('seen')} "
                f"{times[peer] / times['metarec seen' if peer.endswith('seen') else 'metarec']:.2f}×"
                for peer in times
                if not peer.startswith("metarec")
            ]
            print(f"n={n} d={d} b={b}:  " + "  ".join(line), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"about": about, "figures": figures}, indent=1))


if __name__ == "__main__":
    main()
