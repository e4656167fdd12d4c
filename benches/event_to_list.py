"""From an event to the user's new top 20 over 50,000 items, on one core.

    METAREC_NUM_THREADS=1 taskset -c 0 python benches/event_to_list.py

One ``observe`` and one ``recommend`` at a time, for random users; p50 and p99 in milliseconds of the whole
and of its two parts. ``observe`` ends with a commit that is synchronised to disk, so its time is mostly the
disk's: a plain write and fsync of as many bytes is measured beside it, in turns. The log is drawn at random
(Zipf popularity, groups of taste), since what is measured is time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parent))
from _record import append, machine

import metarec_sdk as mr

K = 20


def random_log(users: int, items: int, rng: np.random.Generator) -> pl.DataFrame:
    """About 30 events a user: half from the user's group of items, half from anywhere, all Zipf-like."""
    groups = 50
    lengths = rng.integers(10, 50, users)
    user = np.repeat(np.arange(users), lengths)
    rank = (items / groups * rng.random(len(user)) ** 3).astype(np.int64)
    group = np.where(rng.random(len(user)) < 0.5, user % groups, rng.integers(groups, size=len(user)))
    every = pl.DataFrame({"user_id": np.arange(items) % users, "item_id": np.arange(items)})
    drawn = pl.DataFrame({"user_id": user, "item_id": rank * groups + group})
    both = pl.concat([every, drawn])
    return both.with_columns(timestamp=1_600_000_000 + rng.permutation(len(both)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--backbone", default="factors")
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    log = mr.read_interactions(random_log(arguments.users, arguments.items, rng))
    with tempfile.TemporaryDirectory() as folder:
        rec = mr.Recommender(
            backbone=arguments.backbone,
            clusterer="none",
            meta_learner="none",
            home=Path(folder) / "home",
            progress=False,
        )
        rec.fit(log)
        users = rng.choice(arguments.users, arguments.events + 50).tolist()
        items = rng.choice(arguments.items, arguments.events + 50).tolist()
        observed, listed, plain = [], [], []
        descriptor = os.open(Path(folder) / "plain", os.O_WRONLY | os.O_CREAT)
        for user, item in zip(users, items):
            started = time.perf_counter()
            rec.observe(user, item)
            between = time.perf_counter()
            rec.recommend([user], k=K)
            ended = time.perf_counter()
            os.write(descriptor, b"x" * 4096)
            os.fsync(descriptor)
            plain.append(time.perf_counter() - ended)
            observed.append(between - started)
            listed.append(ended - between)
        os.close(descriptor)
    warm = slice(50, None)  # the first calls build caches
    parts = {
        "event to list": np.add(observed, listed)[warm],
        "observe (durable)": np.array(observed)[warm],
        "recommend": np.array(listed)[warm],
        "plain write and fsync": np.array(plain)[warm],
    }
    append(
        "event_to_list",
        {
            "backbone": arguments.backbone,
            "items": log.n_items,
            "k": K,
            "events": arguments.events,
            "milliseconds": {
                name: {f"p{q}": round(1000 * float(np.percentile(values, q)), 3) for q in (50, 99)}
                for name, values in parts.items()
            },
            "machine": machine("apsw", "polars"),
        },
    )


if __name__ == "__main__":
    main()
