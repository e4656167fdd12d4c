"""Training implicit ALS, against the ALS of `implicit` with its conjugate-gradient and its exact solver.

    python benches/ials_against_implicit.py [--factors 64] [--iterations 15] [--repeats 5] [--threads 2]

Everybody trains on ml-1m (on MovieLens 100k where it is missing) without each user's last item, with the
same factors, iterations and threads; BLAS has one thread, as `implicit` asks for. Each side takes the
best of a grid of settings by the NDCG@10 of that last item among all unseen items, chosen on a tenth of
the users and reported on the others, so that times are compared at like quality. Runs alternate in one
process; ratios are medians of the ratio within a round, above 1 where we are faster. One row goes to
``benches/results/ials_against_implicit.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "ials_against_implicit.jsonl"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--without-exact", action="store_true", help="leave out implicit's slow exact solver")
    return parser.parse_args()


ARGUMENTS = parse()
# The pool reads it when it starts.
os.environ["METAREC_NUM_THREADS"] = str(ARGUMENTS.threads)

import numpy as np  # noqa: E402
from implicit.cpu.als import AlternatingLeastSquares  # noqa: E402
from scipy.sparse import csr_matrix  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from metarec_sdk.data import datasets, encode  # noqa: E402
from metarec_sdk.heads.ials import Ials  # noqa: E402
from metarec_sdk.types import TrainingLog  # noqa: E402

Trained = tuple[np.ndarray, np.ndarray]
Side = Callable[[], Trained]


def data() -> tuple[str, TrainingLog, np.ndarray]:
    """The name, the log without each user's last item, and that item i32[u]."""
    name = "ml-1m" if "ml-1m" in datasets.available() else "movielens-100k"
    log, _, _ = encode(datasets.load(name).interactions)
    histories = log.histories
    last = histories.last(1).items
    return name, TrainingLog(histories.first(histories.lengths - 1), log.n_items), last


def ndcg(trained: Trained, log: TrainingLog, last: np.ndarray, users: np.ndarray) -> float:
    """Mean NDCG@10 of the last item among the items that a user hasn't seen; ties count against it."""
    total = 0.0
    for part in np.array_split(users, max(1, len(users) // 500)):
        scores = trained[0][part] @ trained[1].T  # [b, n]
        seen = log.histories.take(part)
        scores[np.repeat(np.arange(len(part)), seen.lengths), seen.items] = -np.inf
        target = scores[np.arange(len(part)), last[part]]
        place = (scores >= target[:, None]).sum(axis=1)
        total += (1 / np.log2(place[place <= 10] + 1)).sum()
    return float(total / len(users))


def ours(log: TrainingLog, regularization: float, unobserved: float) -> Side:
    settings = Ials(
        factors=ARGUMENTS.factors,
        iterations=ARGUMENTS.iterations,
        regularization=regularization,
        unobserved_weight=unobserved,
    )
    return lambda: settings.train(log, np.random.default_rng(0))


def theirs(log: TrainingLog, regularization: float, confidence: float, *, use_cg: bool) -> Side:
    histories = log.histories
    weights = np.full(len(histories.items), confidence, np.float32)
    matrix = csr_matrix((weights, histories.items, histories.offsets), (len(log), log.n_items))

    def train() -> Trained:
        model = AlternatingLeastSquares(
            factors=ARGUMENTS.factors,
            iterations=ARGUMENTS.iterations,
            regularization=regularization,
            use_cg=use_cg,
            num_threads=ARGUMENTS.threads,
            random_state=0,
        )
        model.fit(matrix, show_progress=False)
        return model.user_factors, model.item_factors

    return train


def sides(log: TrainingLog) -> dict[str, dict[str, Side]]:
    """For each side that is tuned, its settings by name and what trains them."""
    return {
        "ours": {f"λ={r} α₀={a}": ours(log, r, a) for r, a in product((0.001, 0.003, 0.01), (0.1, 0.3, 1.0))},
        "implicit, CG": {
            f"λ={r} c={c}": theirs(log, r, c, use_cg=True)
            for r, c in product((0.1, 1.0, 10.0), (5.0, 10.0, 20.0))
        },
    }


def main() -> None:
    warnings.simplefilter("ignore")
    name, log, last = data()
    users = np.random.default_rng(0).permutation(len(log))
    choosing, judging = users[: len(users) // 10], users[len(users) // 10 :]
    chosen: dict[str, tuple[str, Side]] = {}
    with threadpool_limits(1, "blas"):
        for side, grid in sides(log).items():
            found = {setting: ndcg(train(), log, last, choosing) for setting, train in grid.items()}
            best = max(found, key=lambda setting: found[setting])
            chosen[side] = best, grid[best]
            print(f"{side:16} {best} of {found}", file=sys.stderr)
        if not ARGUMENTS.without_exact:
            # The settings of the other solver, which minimises the same objective: the exact one is slow.
            setting = chosen["implicit, CG"][0]
            regularization, confidence = (float(part.split("=")[1]) for part in setting.split())
            chosen["implicit, exact"] = setting, theirs(log, regularization, confidence, use_cg=False)
        quality: dict[str, float] = {}
        times: dict[str, list[float]] = {side: [] for side in chosen}
        for _ in range(ARGUMENTS.repeats):
            for side, (_, train) in chosen.items():
                start = time.perf_counter()
                trained = train()
                times[side].append(time.perf_counter() - start)
                if side not in quality:
                    quality[side] = ndcg(trained, log, last, judging)
    rows = {
        side: {
            "settings": setting,
            "seconds": round(statistics.median(times[side]), 3),
            "ndcg@10": round(quality[side], 4),
            "ratio": round(statistics.median(t / o for t, o in zip(times[side], times["ours"])), 2),
        }
        for side, (setting, _) in chosen.items()
    }
    for side, row in rows.items():
        print(f"{side:16} {row}", file=sys.stderr)
    result = {
        "data": name,
        **vars(ARGUMENTS),
        "rows": rows,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {package: version(package) for package in ("implicit", "numpy", "metarec-sdk")},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(result) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
