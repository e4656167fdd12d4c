"""Planted bots among real people, and what groups by behaviour are worth.

    METAREC_DATA=/folder/of/data/sets python plugins/metarec-behaviour/benches/bots.py

People are those of MovieLens-100k (ratings with times) and of the retailrocket-3k folder (views, carts and
purchases without times). Of each kind of bot there are as many as 2 % of the people, in the log that the models are
fitted on. *Found*: bots whose score is worse than that of all but 1 % of the people. The score is the
log-likelihood an event, as in ``clean(behaviour=, min_log_likelihood=)``, or for the rule
``max_events_per_minute`` the most events within 60 seconds. Means over five seeds.

*Gain*: nats per event that popularity within eight groups (``kmeans`` of the features of the first 80 % of
each person's events) gains over everybody's on the last 20 %, beside the same groups dealt out at random.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from metarec_sdk import PluginManager
from metarec_sdk.data import datasets

SEEDS = range(5)
SECOND = 1_000_000
PLUGINS = PluginManager(enabled=["behaviour"], strict=True)
RATINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "counts (built in)": ("counts", {}),
    "multinomial": ("behaviour/multinomial", {"aspects": ["value", "gap", "hour"]}),
    "hmm": ("behaviour/hmm", {"aspects": ["value", "gap"]}),
    "bayesian-network": ("behaviour/bayesian-network", {"aspects": ["value", "gap", "hour", "weekday"]}),
}
SHOP: dict[str, tuple[str, dict[str, Any]]] = {
    "counts (built in)": ("counts", {}),
    "multinomial": ("behaviour/multinomial", {"aspects": ["event_type"]}),
    "hmm": ("behaviour/hmm", {"aspects": ["event_type"]}),
    "bayesian-network": ("behaviour/bayesian-network", {"aspects": ["event_type"]}),
}


def bot(kind: str, name: int, people: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The events of one bot."""
    n = 200
    types, values = ["rating"] * n, rng.integers(1, 6, n).astype(float)
    start = int(rng.choice(people["timestamp"].to_numpy()))
    times = start + np.arange(n) * SECOND
    if kind == "clockwork: every 20 minutes":
        times = start + np.arange(n) * 1200 * SECOND
    if kind == "booster: a person's times, all 5":
        other = people.filter(pl.col("user_id") == int(rng.choice(people["user_id"].to_numpy())))
        times, n = np.sort(other["timestamp"].to_numpy()), other.height
        types, values = ["rating"] * n, np.full(n, 5.0)
    if kind in ("views alone", "carts alone", "types at random"):
        kinds = ["view", "cart", "purchase"]
        chosen = {"views alone": [0] * n, "carts alone": [1] * n}.get(kind, list(rng.integers(0, 3, n)))
        types, values = [kinds[place] for place in chosen], np.full(n, np.nan)
    return pl.DataFrame(
        {
            "user_id": np.full(n, name),
            "item_id": rng.choice(people["item_id"].to_numpy(), n),
            "timestamp": times,
            "event_type": types,
            "value": pl.Series(values).fill_nan(None),
        }
    )


def busiest_minute(events: pl.DataFrame) -> np.ndarray:
    """i64[u], the most events of each user within 60 seconds, users in sorted order."""
    ordered = events.sort("user_id", "timestamp")
    per_user = ordered.rolling("timestamp", period="60000000i", group_by="user_id").agg(n=pl.len())
    return per_user.group_by("user_id").agg(pl.col("n").max()).sort("user_id")["n"].to_numpy()


def found(people: pl.DataFrame, kinds: list[str], models: dict[str, tuple[str, dict[str, Any]]]) -> None:
    timed = bool(people["value"].is_not_null().any())
    n_people, first = people["user_id"].n_unique(), int(people["user_id"].max()) + 1
    each = round(0.02 * n_people)
    names = [*(["max_events_per_minute"] if timed else []), *models]
    shares: dict[str, list[list[float]]] = {name: [] for name in names}
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        bots = [
            bot(kind, first + row * each + i, people, rng)
            for row, kind in enumerate(kinds)
            for i in range(each)
        ]
        log = pl.concat([people, *bots]).sort("timestamp", maintain_order=True)
        log = log.with_columns(row=pl.int_range(pl.len()))
        events = log if timed else log.drop("timestamp")
        sizes = log.group_by("user_id").len().sort("user_id")["len"].to_numpy()
        for name in names:
            if name in models:
                model = PLUGINS.create("behaviour", *models[name])
                model.fit(events, np.random.default_rng(seed))
                score = model.log_likelihood(events) / sizes
            else:
                score = -busiest_minute(log).astype(float)
            bound = np.quantile(score[:n_people], 0.01, method="lower")
            caught = (score[n_people:] < bound).reshape(len(kinds), each).mean(1)
            lost = (score[:n_people] < bound).sum()
            precision = caught.sum() * each / max(caught.sum() * each + lost, 1)
            shares[name].append([*caught, precision])
    print(f"{'model':24}", *(f"{kind:>34}" for kind in [*kinds, "precision"]))
    for name, rows in shares.items():
        print(f"{name:24}", *(f"{share:34.2f}" for share in np.mean(rows, axis=0)))


def seconds(people: pl.DataFrame) -> None:
    events = people.with_columns(row=pl.int_range(pl.len()))
    print(f"\n{'model':24} {'events':>8} {'fit s':>8} {'likelihood s':>13} {'features s':>11}")
    for name, (component, params) in RATINGS.items():
        model = PLUGINS.create("behaviour", component, params)
        marks = [time.perf_counter()]
        for call in (
            lambda model=model: model.fit(events, np.random.default_rng(0)),
            lambda model=model: model.log_likelihood(events),
            lambda model=model: model.features(events),
        ):
            call()
            marks.append(time.perf_counter())
        print(f"{name:24} {events.height:8}", *(f"{took:11.2f}" for took in np.diff(marks)))


def gain(people: pl.DataFrame) -> None:
    place = pl.int_range(pl.len()).over("user_id") / pl.len().over("user_id")
    ordered = people.sort("timestamp", maintain_order=True).with_columns(row=pl.int_range(pl.len()))
    early, late = ordered.filter(place < 0.8), ordered.filter(place >= 0.8)
    users = early["user_id"].unique().sort()
    items = people["item_id"].unique().sort()

    def worth(task: np.ndarray) -> float:
        counts = np.zeros((task.max() + 1, len(items)))
        row = task[users.search_sorted(early["user_id"]).to_numpy()]
        np.add.at(counts, (row, items.search_sorted(early["item_id"]).to_numpy()), 1.0)
        everybody = (counts.sum(0) + 0.5) / (counts.sum() + 0.5 * len(items))
        shares = (counts + 2000 * everybody) / (counts.sum(1, keepdims=True) + 2000)
        item = items.search_sorted(late["item_id"]).to_numpy()
        own = shares[task[users.search_sorted(late["user_id"]).to_numpy()], item]
        return float(np.log(own / everybody[item]).mean())

    print(f"\n{'features':24} {'gain':>8} {'random':>8}")
    for name, (component, params) in RATINGS.items():
        gains = []
        for seed in SEEDS:
            model = PLUGINS.create("behaviour", component, params)
            model.fit(early, np.random.default_rng(seed))
            groups = PLUGINS.create("clusterer", "kmeans", {"n_tasks": 8})
            x = model.features(early)
            groups.fit(x, np.random.default_rng(seed))
            task = np.maximum(groups.assign(x), 0)
            gains.append([worth(task), worth(np.random.default_rng(seed).permutation(task))])
        print(f"{name:24}", *(f"{value:+8.3f}" for value in np.mean(gains, axis=0)))


def main() -> None:
    columns = ["user_id", "item_id", "timestamp", "event_type", "value"]
    people = datasets.load("movielens-100k").interactions.frame.select(columns)
    found(
        people,
        ["burst: one a second", "clockwork: every 20 minutes", "booster: a person's times, all 5"],
        RATINGS,
    )
    folder = Path(os.environ.get("METAREC_DATA", "../shared/data")) / "retailrocket-3k"
    shop = pl.read_parquet(folder / "interactions.parquet").select(
        pl.col("user_id", "item_id").cast(pl.Int64),
        timestamp=pl.int_range(pl.len()),
        event_type="behaviour",
        value=pl.lit(None, pl.Float64),
    )
    found(shop, ["views alone", "carts alone", "types at random"], SHOP)
    seconds(people)
    gain(people)


if __name__ == "__main__":
    main()
