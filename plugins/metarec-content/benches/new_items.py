"""How well items without events are ranked by their texts, and what encoding costs.

    METAREC_DATA=/folder/of/data/sets python plugins/metarec-content/benches/new_items.py [--minilm]

A fifth of the items is new: none of their events is learned from. Trained vectors of the others (``factors``
of 64) are regressed on content (ridge, α = 10), as the recommender places items that join, and the new items
are ranked among themselves for everybody who took one of them. NDCG@10, five splits; intervals are paired
over the splits, against ``table``. Needs folders with ``interactions.parquet`` and ``items.parquet``.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import stats
from sklearn.linear_model import Ridge

import metarec_sdk as mr
from metarec_sdk.types import Float32, Float64, TrainingLog

SEEDS = 5
TEXTS = {
    "amazon-office-text": ["title", "description", "brand"],
    "amazon-industrial-text": ["title", "description", "brand"],
    "ml-1m": ["title", "genres", "plot", "directors", "actors"],
}


def main(minilm: bool) -> None:
    for name, columns in TEXTS.items():
        folder = Path(os.environ["METAREC_DATA"]) / name
        log = pl.read_parquet(folder / "interactions.parquet").select("user_id", "item_id").unique()
        items = pl.read_parquet(folder / "items.parquet").select("item_id", *columns)
        if name == "ml-1m":
            users = log["user_id"].unique().sort().sample(2_000, seed=0)
            log = log.filter(pl.col("user_id").is_in(users.implode()))
        print(f"\n{name}: {log['user_id'].n_unique()} users, {len(items)} items, {len(log)} events")
        contents = {label: encoded(label, items) for label in encoders(minilm)}
        splits = [Split(log.sort("user_id", "item_id"), items, seed) for seed in range(SEEDS)]
        results = {label: [split.ndcg(content) for split in splits] for label, content in contents.items()}
        results["random"] = [split.of_random() for split in splits]
        results["popularity, if it were known"] = [split.of_popularity() for split in splits]
        for label, found in results.items():
            half = stats.t.ppf(0.975, SEEDS - 1) / np.sqrt(SEEDS)
            gain = np.subtract(found, results["table"])
            print(
                f"  {label:30} {np.mean(found):.4f} ± {half * np.std(found, ddof=1):.4f}"
                f"  against table {gain.mean():+.4f} ± {half * gain.std(ddof=1):.4f}",
                flush=True,
            )


def encoders(minilm: bool) -> dict[str, tuple[str, dict[str, Any]]]:
    """Label -> (name, arguments)."""
    chosen: dict[str, tuple[str, dict[str, Any]]] = {
        "table": ("table", {}),
        "text, 64": ("content/text", {"width": 64}),
        "text": ("content/text", {}),
        "text, 256": ("content/text", {"width": 256}),
        "sentences, wordllama": ("content/sentences", {}),
    }
    if minilm:
        chosen["sentences, minilm"] = ("content/sentences", {"model": "minilm"})
    return chosen


def encoded(label: str, items: pl.DataFrame) -> Float32:
    """f32[n, c]; prints seconds for 1,000 items: at first, with 1 % new, cached."""
    name, params = encoders(True)[label]
    create = mr.PluginManager(enabled=["content"], strict=True).create
    if name != "content/sentences":
        encoder = create("content", name, params)
        content, first = timed(encoder, items)
        print(f"  {label:30} {first:6.2f} s per 1,000 items", flush=True)
        return content
    with tempfile.TemporaryDirectory() as folder:
        params = {**params, "cache": folder}
        timed(create("content", name, params), items.head(1))  # imports
        _, first = timed(create("content", name, params), items[: -len(items) // 100])
        content, more = timed(create("content", name, params), items)
        _, again = timed(create("content", name, params), items)
    print(
        f"  {label:30} {first:6.2f} s per 1,000 items, {more:.3f} with 1 % new, {again:.3f} cached",
        flush=True,
    )
    return content


def timed(encoder: Any, items: pl.DataFrame) -> tuple[Float32, float]:
    """The vectors, and seconds for 1,000 items."""
    started = time.perf_counter()
    content = encoder.encode(items)
    return content, (time.perf_counter() - started) * 1_000 / len(items)


class Split:
    """Warm items with a trained backbone, and new ones."""

    def __init__(self, log: pl.DataFrame, items: pl.DataFrame, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        row_of = {item: row for row, item in enumerate(items["item_id"])}
        known = np.array([item for item in log["item_id"].unique().sort() if item in row_of])
        new = self.rng.permutation(known)[: len(known) // 5]
        is_new = pl.col("item_id").is_in(new)
        learned, users, warm = mr_encode(log.filter(~is_new))
        backbone = mr.PluginManager().create("backbone", "factors", {})
        backbone.fit(TrainingLog(learned.histories, learned.n_items), self.rng)
        self.vectors = backbone.item_matrix()
        self.warm = np.array([row_of.get(item, -1) for item in warm.ids])
        self.new = np.array([row_of[item] for item in new])
        test = log.filter(is_new).filter(pl.col("user_id").is_in(users.ids.implode()))
        self.taken = np.zeros((len(users), len(new)), bool)
        column = {item: place for place, item in enumerate(new)}
        self.taken[users.encode(test["user_id"]), [column[item] for item in test["item_id"]]] = True
        asked = self.taken.any(axis=1)
        self.queries, self.taken = backbone.encode(learned.histories)[asked], self.taken[asked]

    def ndcg(self, content: Float32) -> float:
        """Of new items that are placed by content f32[n, c]."""
        described = self.warm >= 0
        model = Ridge(alpha=10.0).fit(content[self.warm[described]], self.vectors[described])
        return self._of(self.queries @ model.predict(content[self.new]).T)

    def of_random(self) -> float:
        return self._of(self.rng.random(self.taken.shape))

    def of_popularity(self) -> float:
        """By the test events themselves: no method could know them."""
        return self._of(np.tile(self.taken.sum(axis=0), (len(self.taken), 1)).astype(float))

    def _of(self, scores: Float64) -> float:
        best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        gain = 1 / np.log2(np.arange(2, 12))
        ideal = np.cumsum(gain)[np.minimum(self.taken.sum(axis=1), 10) - 1]
        return float(((np.take_along_axis(self.taken, best, axis=1) * gain).sum(axis=1) / ideal).mean())


def mr_encode(frame: pl.DataFrame) -> Any:
    from metarec_sdk.data import encode

    return encode(mr.read_interactions(frame, time=None))


if __name__ == "__main__":
    main("--minilm" in sys.argv)
