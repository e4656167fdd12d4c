"""What the segments are worth on MovieLens 1M, against one segment and against random ones.

    METAREC_DATA=/folder/of/data/sets python plugins/metarec-segments/benches/segments.py

Users are described by the vector that the ``factors`` backbone makes of the first 80 % of their ratings.
*Found segments*: nats per event that the popularity within the segment gains over the popularity of everybody
on the last 20 % of the ratings, beside the same for the segments dealt out at random. Popularity is counted
on the first 80 % and shrunk to that of everybody by 2,000 events. *Given segments*: half of the users keep
their label, those of the others are predicted.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import polars as pl

from metarec_sdk import PluginManager
from metarec_sdk.data import datasets, encode
from metarec_sdk.types import Float32, Histories, Int32, TrainingLog

SEED = 1
PRIOR_EVENTS = 2_000.0
PLUGINS = PluginManager(enabled=["segments"], strict=True)


def popularity(histories: Histories, task: Int32, n_items: int) -> np.ndarray:
    """f64[C + 1, n], smoothed shares of the items in each task; the last row is everybody's."""
    users = np.repeat(np.arange(len(histories)), histories.lengths)
    counts = np.zeros((task.max() + 2, n_items))
    np.add.at(counts, (task[users], histories.items), 1.0)  # task -1 goes to the last row
    everybody = (counts.sum(0) + 0.5) / (counts.sum() + 0.5 * n_items)
    counts[-1] = 0
    return (counts + PRIOR_EVENTS * everybody) / (counts.sum(1, keepdims=True) + PRIOR_EVENTS)


def gain(early: Histories, late: Histories, task: Int32, n_items: int) -> float:
    """Nats per late event over one segment for all."""
    users = np.repeat(np.arange(len(late)), late.lengths)
    shares = popularity(early, task, n_items)
    return float(np.log(shares[task[users], late.items] / shares[-1, late.items]).mean())


def found(x: Float32, early: Histories, late: Histories, n_items: int) -> None:
    print(f"{'segments':42} tasks  smallest  no task  seconds    gain  random")
    for name, params in (
        ("kmeans", {"n_tasks": 8}),
        ("segments/gmm", {"n_tasks": 8}),
        ("segments/k-anonymous", {"n_tasks": 8, "k": 200}),
        ("segments/k-anonymous", {"n_tasks": 8, "k": 700}),
        ("segments/hdbscan", {}),
        ("segments/hdbscan", {"dimensions": 2}),
        ("segments/hdbscan", {"dimensions": 64}),
    ):
        component = PLUGINS.create("clusterer", name, params)
        started = time.perf_counter()
        component.fit(x, np.random.default_rng(SEED))
        task = component.assign(x)
        seconds = time.perf_counter() - started
        sizes = np.bincount(task[task >= 0], minlength=1)
        random = np.random.default_rng(SEED).permutation(task)
        described = f"{name} {params}".replace("'", "")
        print(
            f"{described:42} {component.n_tasks:5} {sizes.min():9} {np.mean(task < 0):8.1%} {seconds:8.1f}"
            f" {gain(early, late, task, n_items):+7.3f} {gain(early, late, random, n_items):+7.3f}"
        )


def given(x: Float32, labels: pl.Series) -> None:
    """Predict the labels of half of the users from the other half's."""
    codes = labels.rank("dense").cast(pl.Int64).to_numpy() - 1
    hidden = np.random.default_rng(SEED).random(len(x)) < 0.5
    column = np.where(hidden, -1, codes)
    rows = np.column_stack([column, x]).astype(np.float32)
    component: Any = PLUGINS.create("clusterer", "segments/svm", {})
    started = time.perf_counter()
    component.fit(rows, np.random.default_rng(SEED))
    seconds = time.perf_counter() - started
    probability = component.probabilities(rows[hidden])
    truth = codes[hidden]
    share = np.bincount(codes[~hidden]) / (~hidden).sum()
    top, sure = probability.argmax(1), probability.max(1)
    bins = np.array_split(np.argsort(sure), 10)
    error = np.mean([abs(sure[part].mean() - (top == truth)[part].mean()) for part in bins])
    loss = -np.log(probability[np.arange(len(truth)), truth]).mean()
    print(
        f"{labels.name:12} {len(share):6}"
        f" {np.mean(top == truth):8.3f} {np.mean(share.argmax() == truth):9.3f}"
        f" {loss:6.3f} {-np.log(share[truth]).mean():9.3f} {error:11.3f} {seconds:8.1f}"
    )


def main() -> None:
    data = datasets.load("ml-1m")
    log, users, _ = encode(data.interactions)
    cut = (log.histories.lengths * 4) // 5
    early, late = log.histories.first(cut), log.histories.between(cut, log.histories.lengths)
    backbone = PLUGINS.create("backbone", "factors", {})
    backbone.fit(TrainingLog(early, log.n_items), np.random.default_rng(SEED))
    x = backbone.encode(early)
    found(x, early, late, log.n_items)
    table = pl.DataFrame({"user_id": users.ids}).join(data.users, on="user_id", how="left")
    print(f"\n{'label':12} values accuracy  majority   loss  of shares  calibration  seconds")
    for name in ("gender", "age"):
        given(x, table[name])


if __name__ == "__main__":
    main()
