"""What each reranker costs in NDCG and gives, on MovieLens-100k, leave-one-out, full ranking.

    python plugins/metarec-rerank/benches/trade.py

Candidates: the 50 best of the built-in ``factors`` of each user; lists of 10. *Calibration*: mean KL of the
history's genres from those of the list, nats, lower is closer. *Alike*: mean Jaccard similarity of genres of
two items of a list. *Year*: mean year of release. One seed, defaults but for what is named.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from metarec_rerank.calibrated import divergence
from metarec_rerank.catalogue import incidence
from metarec_sdk import PluginManager
from metarec_sdk.data import datasets, encode
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import TrainingLog

K = 10


def main() -> None:
    data = datasets.load("movielens-100k")
    log, _, catalogue = encode(data.interactions)
    items = pl.DataFrame({"item_id": catalogue.ids}).join(
        data.items, on="item_id", how="left", maintain_order="left"
    )
    years = items["year"].cast(pl.Float64)
    items = items.with_columns(released=years * 365.25, decade=(years // 10).cast(pl.Int64))
    ends = log.histories.lengths - 1
    context, targets = log.histories.first(ends), log.histories.items[log.histories.offsets[1:] - 1]
    plugins = PluginManager(enabled=["rerank"], strict=True)
    backbone = plugins.create("backbone", "factors", {})
    backbone.fit(TrainingLog(context, log.n_items), np.random.default_rng(1))
    table = backbone.item_matrix()
    found = ItemIndex(table).topk(backbone.encode(context), 50, exclude=(context.offsets, context.items))
    genres = incidence(items, "genres")
    shares = genres / np.maximum(genres.sum(1, keepdims=True), 1)
    wanted = np.stack([shares[row].mean(0) for row in context])  # [u, v]
    wanted /= np.maximum(wanted.sum(1, keepdims=True), 1e-12)
    shared = genres @ genres.T
    alike = shared / np.maximum(genres.sum(1)[:, None] + genres.sum(1) - shared, 1)
    year = years.to_numpy()
    choices: list[tuple[str, dict[str, Any]]] = [
        ("none", {}),
        ("rerank/mmr", {"relevance": 0.7}),
        ("rerank/calibrated", {"calibration": 0.2}),
        ("rerank/calibrated", {"calibration": 0.5}),
        ("rerank/freshness", {"half_life_days": 1000.0, "freshness": 0.2}),
        ("rerank/exposure", {"column": "decade"}),
    ]
    print(f"{'reranker':42} NDCG@10  calibration  alike  year")
    for name, params in choices:
        scores = found.scores
        if name != "none":
            component: Any = plugins.create("reranker", name, params)
            component.fit(items, table)
            scores = component.rescore(context, found, K)
        ids = np.stack(
            [
                found.items[start:stop][np.argsort(-scores[start:stop], kind="stable")[:K]]
                for start, stop in zip(found.offsets[:-1], found.offsets[1:])
            ]
        )
        gain = ((ids == targets[:, None]) / np.log2(np.arange(2, K + 2))).sum(1).mean()
        kl = np.mean([divergence(p, shares[row].mean(0)[None])[0] for p, row in zip(wanted, ids)])
        pairs = np.mean([(alike[np.ix_(row, row)].sum() - K) / (K * (K - 1)) for row in ids])
        print(
            f"{f'{name} {params}'.replace(chr(39), ''):42} {gain:7.4f} {kl:12.3f} {pairs:6.3f}"
            f" {np.nanmean(year[ids]):6.1f}"
        )


if __name__ == "__main__":
    main()
