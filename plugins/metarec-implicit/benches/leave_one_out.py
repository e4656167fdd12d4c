"""The wrapped models beside the built-in ``factors`` on MovieLens-100k, leave-one-out, full ranking.

    python plugins/metarec-implicit/benches/leave_one_out.py

The last event of each user is ranked among all items that the user hasn't rated before; defaults of each
model but for 64 factors, so nothing is tuned; three seeds, mean and standard deviation.
"""

from __future__ import annotations

import time

import numpy as np

from metarec_sdk import PluginManager
from metarec_sdk.data import datasets, encode
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import TrainingLog

SEEDS = (1, 2, 3)


def main() -> None:
    log, _, _ = encode(datasets.load("movielens-100k").interactions)
    lengths = log.histories.lengths
    context, targets = log.histories.first(lengths - 1), log.histories.items[log.histories.offsets[1:] - 1]
    plugins = PluginManager(enabled=["implicit"], strict=True)
    print("backbone        HR@10           NDCG@10         seconds")
    for name in ("factors", "implicit/als", "implicit/bpr", "implicit/lmf"):
        hits, gains = [], []
        started = time.perf_counter()
        for seed in SEEDS:
            backbone = plugins.create("backbone", name, {"factors": 64})
            backbone.fit(TrainingLog(context, log.n_items), np.random.default_rng(seed))
            lists = ItemIndex(backbone.item_matrix()).topk(
                backbone.encode(context), 10, exclude=(context.offsets, context.items)
            )
            ids, _ = lists.padded(10)
            place = ids == targets[:, None]  # [u, 10]
            hits.append(place.any(1).mean())
            gains.append((place / np.log2(np.arange(2, 12))).sum(1).mean())
        seconds = (time.perf_counter() - started) / len(SEEDS)
        print(
            f"{name:15} {np.mean(hits):.4f} ± {np.std(hits):.4f} {np.mean(gains):.4f} ± {np.std(gains):.4f}"
            f" {seconds:8.1f}"
        )


if __name__ == "__main__":
    main()
