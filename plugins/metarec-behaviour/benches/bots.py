"""Planted bots among real people, and what groups by behaviour are worth.

    METAREC_DATA=/folder/of/data/sets python plugins/metarec-behaviour/benches/bots.py

People are those of MovieLens-100k (ratings with times) and of the retailrocket-3k folder (views, carts and
purchases without times). One kind of bot at a time is in the log that the models are fitted on, 2 % of the
people, each with as many events as somebody who has at least 20. *Found*: share of the bots beyond bounds
that cost 1 % of the people, put below the log-likelihood an event (*low*: the bound ``min_log_likelihood`` of
``clean``), or half below and half above (*both*: ``max_log_likelihood`` too). The rule
``max_events_per_minute`` goes by the most events within 60 seconds. Means over three seeds.

*Gain*: nats per event that popularity within eight groups (``kmeans`` of the features of the first 80 % of
each person's events) gains over everybody's on the last 20 %, beside the same groups dealt out at random.
"""

from __future__ import annotations

import os
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from metarec_sdk import PluginManager
from metarec_sdk.data import datasets

SEEDS = range(3)
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
    sizes = people.group_by("user_id").len().filter(pl.col("len") >= 20).sort("user_id")
    model, n = sizes.row(int(rng.integers(sizes.height)))
    types, values = ["rating"] * n, rng.integers(1, 6, n).astype(float)
    every = {"clockwork": 1200}.get(kind, 1)
    times = int(rng.choice(people["timestamp"].to_numpy())) + np.arange(n) * every * SECOND
    if kind == "booster":
        times, values = people.filter(user_id=model)["timestamp"].sort().to_numpy(), np.full(n, 5.0)
    if kind in ("views", "carts", "any type"):
        names = ["view", "cart", "purchase"]
        drawn = rng.integers(0, 3, n)
        types = {"views": ["view"] * n, "carts": ["cart"] * n}.get(kind, [names[place] for place in drawn])
        values = np.full(n, np.nan)
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
    return per_user.group_by("user_id").agg(pl.col("n").max()).sort("user_id")["n"].cast(pl.Int64).to_numpy()


def beyond(score: np.ndarray, n_people: int, low: float, high: float) -> float:
    """Share of the bots, which come after the people, outside bounds that cost these shares of the people."""
    least = np.quantile(score[:n_people], low)
    most = np.quantile(score[:n_people], 1 - high) if high else np.inf
    return float(((score[n_people:] < least) | (score[n_people:] > most)).mean())


def found(people: pl.DataFrame, kinds: list[str], models: dict[str, tuple[str, dict[str, Any]]]) -> None:
    timed = bool(people["value"].is_not_null().any())
    n_people, first = people["user_id"].n_unique(), int(people["user_id"].max()) + 1
    shares: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for seed, kind in product(SEEDS, kinds):
        rng = np.random.default_rng(seed)
        bots = [bot(kind, first + i, people, rng) for i in range(round(0.02 * n_people))]
        log = pl.concat([people, *bots]).sort("timestamp", maintain_order=True)
        log = log.with_columns(row=pl.int_range(pl.len()))
        events = log if timed else log.drop("timestamp")
        sizes = log.group_by("user_id").len().sort("user_id")["len"].to_numpy()
        if timed:
            caught = beyond(-busiest_minute(log), n_people, 0.01, 0)
            shares.setdefault(("max_events_per_minute", kind), []).append((caught, caught))
        for name, (component, params) in models.items():
            model = PLUGINS.create("behaviour", component, params)
            model.fit(events, np.random.default_rng(seed))
            score = model.log_likelihood(events) / sizes
            caught = beyond(score, n_people, 0.01, 0), beyond(score, n_people, 0.005, 0.005)
            shares.setdefault((name, kind), []).append(caught)
    print(f"{'low, both':24}", *(f"{kind:>12}" for kind in kinds))
    for name in dict.fromkeys(name for name, _ in shares):
        means = [np.mean(shares[name, kind], axis=0) for kind in kinds]
        print(f"{name:24}", *(f"{low:6.2f}{both:6.2f}" for low, both in means))


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
        ["burst", "clockwork", "booster"],
        RATINGS,
    )
    folder = Path(os.environ.get("METAREC_DATA", "data")) / "retailrocket-3k"
    shop = pl.read_parquet(folder / "interactions.parquet").select(
        pl.col("user_id", "item_id").cast(pl.Int64),
        timestamp=pl.int_range(pl.len()),
        event_type="behaviour",
        value=pl.lit(None, pl.Float64),
    )
    found(shop, ["views", "carts", "any type"], SHOP)
    seconds(people)
    gain(people)


if __name__ == "__main__":
    main()
