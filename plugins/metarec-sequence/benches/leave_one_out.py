"""The sequence backbones under leave-one-out with full ranking, next to published figures.

    python leave_one_out.py --data beauty/interactions.parquet --order position --preset short
    python leave_one_out.py --data ml-1m/interactions.parquet --order seq --time timestamp --preset long

The file has the columns user_id and item_id, and one that gives the order of a user's events (``--order``;
the order of the rows without it). Each user's last item is the test item, ranked among all items that the
user hasn't taken before, as `metarec_sdk.evaluate` does it with ``protocol="leave-one-out"``. As in the
published figures the item before the last is not trained on, only part of the history that is ranked from.
Early stopping looks at the last training event of up to 512 users.

One row a model and seed is appended to ``--results``; a summary of the file is printed at the end.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import metarec_sdk as mr
from metarec_sdk.data import Interactions, Vocabulary, encode
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import Histories, Memberships, TopK, TrainingLog

MODELS = ("gru4rec", "caser", "mlp", "bert4rec", "hstu", "sasrec")
"""Five of this plugin, and the SDK's own for comparison."""

PRESETS: dict[str, dict[str, Any]] = {
    "short": {
        "width": 64,
        "history_limit": 50,
        "dropout": 0.4,
        "batch_size": 128,
        "learning_rate": 2e-3,
        "epochs": 16,
        "patience": 3,
    },
    "long": {
        "width": 128,
        "history_limit": 200,
        "dropout": 0.2,
        "batch_size": 32,
        "epochs": 30,
        "patience": 6,
    },
}
"""Arguments for logs of short histories (Amazon, Last.fm) and of long ones (MovieLens)."""

OWN: dict[tuple[str, str], dict[str, Any]] = {
    ("bert4rec", "short"): {"mask_share": 0.5, "epochs": 40, "patience": 6},
    ("bert4rec", "long"): {"mask_share": 0.2, "epochs": 120, "patience": 15},
    ("sasrec", "short"): {"short_share": 0.0},
    ("sasrec", "long"): {"short_share": 0.0},
}
"""Arguments of one model that differ from the preset."""


class Alone:
    """A backbone on its own as a contender of `metarec_sdk.evaluate`: nothing but its inner products."""

    def __init__(self, component: str, params: dict[str, Any], seed: int = 0) -> None:
        self.component, self.params, self.seed = component, params, seed
        self.backbone: Any = None

    def clone(self, *, seed: int) -> Alone:
        """The same with another seed."""
        return Alone(self.component, self.params, seed)

    def fit(
        self, log: Interactions, *, items: pl.DataFrame | None = None, users: pl.DataFrame | None = None
    ) -> None:
        """Train on all but each user's last event."""
        encoded, _, self.items = encode(log)
        histories = encoded.histories
        training = TrainingLog(histories.first(np.maximum(histories.lengths - 1, 1)), encoded.n_items)
        self.backbone = mr.PluginManager(enabled=["sequence"]).create("backbone", self.component, self.params)
        began = time.perf_counter()

        def show(done: int, total: int, message: str) -> None:
            if "NDCG" in message:
                print(f"{time.perf_counter() - began:7.0f} s  {self.component} {message}", flush=True)

        self.backbone.fit(training, np.random.default_rng(self.seed), show)
        FITTED.append(self.backbone.record)
        self._index = ItemIndex(self.backbone.item_matrix())

    items: Vocabulary

    def rank(self, histories: Histories, k: int, memberships: Memberships | None = None) -> TopK:
        """The k best items without those of the history."""
        return self._index.topk(self.backbone.encode(histories), k, exclude=histories)

    def members(self) -> dict[str, Any]:
        """None: it is one part."""
        return {}


FITTED: list[Any] = []
"""Training records of the clones that `evaluate` fitted, the latest last."""


def read(path: Path, order: str | None, moment: str | None) -> Interactions:
    """The log in each user's order."""
    frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
    if order is not None:
        frame = frame.sort("user_id", order, maintain_order=True)
    columns = ["user_id", "item_id", *([moment] if moment else [])]
    return mr.read_interactions(frame.select(columns), time=moment)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="Parquet or CSV file of events")
    parser.add_argument("--order", help="column that orders a user's events")
    parser.add_argument("--time", help="column of times in seconds, where they mean something")
    parser.add_argument("--name", help="name of the data in the results; its folder's by default")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="short")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--config", type=json.loads, default={}, help="JSON of arguments to change")
    parser.add_argument("--baselines", nargs="*", default=[], help="such as popularity item-knn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("leave_one_out.jsonl"))
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    log = read(arguments.data, arguments.order, arguments.time)
    data = arguments.name or arguments.data.resolve().parent.name
    common = {
        "data": data,
        "machine": f"{platform.machine()}, {arguments.threads} threads"
        + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
        "torch": torch.__version__,
    }
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    if arguments.baselines:
        report = mr.evaluate(None, log, protocol="leave-one-out", baselines=arguments.baselines)
        for row in report.rows:
            write(arguments.results, common | figures(row) | {"model": row.method, "seed": None})
    for model in arguments.models:
        params = {
            **PRESETS[arguments.preset],
            "holdout": "events",
            **OWN.get((model, arguments.preset), {}),
            **({"time_bias": arguments.time is not None} if model == "hstu" else {}),
            **arguments.config,
        }
        component = model if model == "sasrec" else f"sequence/{model}"
        for seed in arguments.seeds:
            cpu = time.process_time()
            report = mr.evaluate(
                Alone(component, params), log, protocol="leave-one-out", seeds=[seed], baselines=()
            )
            row, record = report.find("recommender", None, protocol="leave-one-out"), FITTED.pop()
            facts = {
                "model": model,
                "seed": seed,
                "params": params,
                "epochs_run": len(record.losses),
                "best_epoch": record.best_epoch + 1,
                "fit_seconds": round(row.fit_seconds, 1),
                "cpu_seconds": round(time.process_time() - cpu, 1),
            }
            write(arguments.results, common | facts | figures(row))
    summarise(arguments.results, data)


def figures(row: Any) -> dict[str, Any]:
    """Test figures with the half width of the 95 % interval over users."""
    hits, gain = row.metrics["hit_rate@10"], row.metrics["ndcg@10"]
    return {
        "hr@10": round(hits.value, 4),
        "ndcg@10": round(gain.value, 4),
        "ndcg@10_interval": [round(gain.low, 4), round(gain.high, 4)],
        "users": row.users,
        "protocol_hash": row.protocol_hash,
    }


def write(path: Path, row: dict[str, Any]) -> None:
    row = {**row, "finished": datetime.now(UTC).isoformat(timespec="seconds")}
    print(json.dumps(row), flush=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def summarise(path: Path, data: str) -> None:
    """Mean over seeds of everything in the file about this data."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    frame = pl.DataFrame(
        [{name: row[name] for name in ("data", "model", "hr@10", "ndcg@10")} for row in rows]
    ).filter(pl.col("data") == data)
    print(
        frame.group_by("model", maintain_order=True).agg(
            pl.len().alias("runs"),
            pl.col("hr@10").mean(),
            pl.col("ndcg@10").mean(),
            pl.col("ndcg@10").std().alias("sd"),
        )
    )


if __name__ == "__main__":
    main()
