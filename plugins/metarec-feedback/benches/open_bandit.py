"""Examination by position on the small Open Bandit logs: by the model, and by counting for a random policy.

    METAREC_DATA=/folder/of/data/sets python plugins/metarec-feedback/benches/open_bandit.py

Under the random policy items don't depend on the position, so click rates are proportional to examination and
tell what the model should find. Intervals: bootstrap over shown items, 200 draws.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl

from metarec_feedback.position import PositionClicks


def curve(events: pl.DataFrame) -> np.ndarray:
    """f64[3], θ by the model relative to the first position."""
    model = PositionClicks(positions=3, iterations=500)
    model.fit(events)
    return model.examination() / model.examination()[0]


def counted(events: pl.DataFrame) -> np.ndarray:
    """f64[3], click rates relative to that of the first position."""
    clicked, place = (events["event_type"] == "click").to_numpy(), events["position"].to_numpy()
    rates = np.array([clicked[place == j].mean() for j in range(3)])
    return rates / rates[0]


def main() -> None:
    folder = Path(os.environ.get("METAREC_DATA", "data")) / "open-bandit-small"
    log = pl.read_parquet(folder / "interactions.parquet").select(
        "policy",
        "item_id",
        position=pl.col("position").cast(pl.Int64) - 1,
        event_type=pl.when(pl.col("click") == 1).then(pl.lit("click")).otherwise(pl.lit("view")),
    )
    rng = np.random.default_rng(1)
    for policy in ("random", "bts"):
        part = log.filter(pl.col("policy") == policy)
        print(policy, len(part), "shown,", int((part["event_type"] == "click").sum()), "clicks")
        for name, measure in (("counted", counted), ("model", curve)):
            draws = np.stack([measure(part[rng.integers(0, len(part), len(part))]) for _ in range(200)])
            low, high = np.quantile(draws, [0.025, 0.975], axis=0)
            found = measure(part)
            print(f"  {name:8}", *(f"{m:.2f} [{a:.2f}, {b:.2f}]" for m, a, b in zip(found, low, high)))


if __name__ == "__main__":
    main()
