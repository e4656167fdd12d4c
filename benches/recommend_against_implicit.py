"""Lists for every ml-1m user, seen items left out, against `implicit` with its own filter.

    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python benches/recommend_against_implicit.py

``ranking`` gives both sides the same factors, users and seen items: ``ItemIndex.topk`` against
``AlternatingLeastSquares.recommend(filter_already_liked_items=True)``, lists compared before anything is
timed. ``facade`` is ``Recommender.recommend`` from ids to a frame with everything that it does besides
(fold-in of each history, head, item-item boosts, gates): what a user waits for. Each side uses the number of
threads, one or all, that is faster for it. The data is ``ml-1m`` from ``METAREC_DATA`` or ``data``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # implicit asks for it: its own threads do the work

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from _record import append, interleaved, machine, medians

import metarec_sdk as mr
from metarec_sdk.data import datasets, encode
from metarec_sdk.ranking import ItemIndex

K = 10
FACTORS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--data", default="ml-1m", help="name of a data set")
    arguments = parser.parse_args()
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    log = datasets.load(arguments.data).interactions
    encoded, _, _ = encode(log)
    histories, n = encoded.histories, encoded.n_items
    b = len(histories)
    seen = csr_matrix((np.ones(len(histories.items), np.float32), histories.items, histories.offsets), (b, n))
    seen.sum_duplicates()
    model = AlternatingLeastSquares(FACTORS, iterations=8, random_state=1, calculate_training_loss=False)
    model.fit(seen, show_progress=False)
    users, items = np.ascontiguousarray(model.user_factors), np.ascontiguousarray(model.item_factors)
    index, everybody = ItemIndex(items), np.arange(b)

    ours, _ = index.topk(users, K, exclude=histories).padded(K)
    theirs, _ = model.recommend(everybody, seen, N=K, filter_already_liked_items=True)
    agreement = float((ours == theirs).mean())
    assert agreement > 0.999, agreement  # equal up to ties and the rounding of sums

    rec = mr.Recommender(backbone="factors", clusterer="none", meta_learner="none", progress=False)
    rec.fit(log)
    ids = rec.users

    def theirs_with(threads: int) -> None:
        model.num_threads = threads
        model.recommend(everybody, seen, N=K, filter_already_liked_items=True)

    calls = {
        "implicit, one thread": lambda: theirs_with(1),
        "implicit, all threads": lambda: theirs_with(0),
        "ranking": lambda: index.topk(users, K, exclude=histories),
        "facade": lambda: rec.recommend(ids, k=K),
    }
    seconds = medians(interleaved(calls, arguments.repeats))
    best = min(seconds["implicit, one thread"], seconds["implicit, all threads"])
    append(
        "recommend_against_implicit",
        {
            "data": arguments.data,
            "users": b,
            "items": n,
            "factors": FACTORS,
            "k": K,
            "same_items": round(agreement, 5),
            "milliseconds": {name: round(1000 * value, 2) for name, value in seconds.items()},
            "ratio": {name: round(best / seconds[name], 2) for name in ("ranking", "facade")},
            "machine": machine("implicit", "scipy"),
        },
    )


if __name__ == "__main__":
    main()
