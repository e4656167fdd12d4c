"""SASRec on MovieLens-1M, leave-one-out, full ranking: the published yardstick (long).

    OMP_NUM_THREADS=2 python benches/sasrec_ml1m.py --seed 1

Every user's ratings in the order of ``seq`` (ties by row): the last is the test item, the one before it the
validation item, the network trains on the rest only, and stops early on the last training event of 512 users,
so that neither is looked at before the end. Each item is ranked among all that the user hasn't rated before
it; ties with other items count against it. Appends one row to ``benches/results/sasrec_ml1m.jsonl``.

The data is read from ``ml-1m/interactions.parquet`` in the folder of ``--data``, ``METAREC_DATA`` or
``data``. Published: SASRec with cross-entropy HR@10 .306–.321, NDCG@10 .178–.188 (Klenitskiy &
Vasilev 2023 and replications); with the original binary loss .24–.25 and .126–.134.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import torch

import metarec_sdk
from metarec_sdk.backbones.sasrec import SASRec
from metarec_sdk.types import Histories, TrainingLog

RESULTS = Path(__file__).parent / "results" / "sasrec_ml1m.jsonl"
CONFIG = {
    "width": 128,
    "blocks": 2,
    "heads": 2,
    "history_limit": 200,
    "dropout": 0.2,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "short_share": 0.0,
    "holdout": "events",
    "patience": 16,
}


def read(folder: Path) -> tuple[Histories, int]:
    """(every user's items in order, number of items)."""
    frame = pl.read_parquet(folder / "ml-1m" / "interactions.parquet", columns=["user_id", "item_id", "seq"])
    frame = frame.sort("user_id", "seq", maintain_order=True)
    items, index = np.unique(frame["item_id"].to_numpy(), return_inverse=True)
    _, counts = np.unique(frame["user_id"].to_numpy(), return_counts=True)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    e = len(index)
    histories = Histories(
        index.astype(np.int32), offsets, np.ones(e, np.float32), np.arange(e, dtype=np.int64)
    )
    return histories, len(items)


def measure(backbone: SASRec, contexts: Histories, targets: np.ndarray) -> dict[str, float]:
    """HR@10 and NDCG@10 of one target a user, context masked."""
    queries, table = backbone.encode(contexts), backbone.item_matrix()
    ranks = np.empty(len(contexts), np.int64)
    for first in range(0, len(contexts), 512):
        rows = slice(first, first + 512)
        part, target = contexts.take(rows), targets[rows]
        scores = queries[rows] @ table.T  # [b, n]
        row = np.arange(len(part))
        target_score = scores[row, target]
        scores[row, target] = -np.inf
        scores[np.repeat(row, part.lengths), part.items] = -np.inf
        ranks[rows] = (scores >= target_score[:, None]).sum(1)
    hit = ranks < 10
    return {"hr@10": float(hit.mean()), "ndcg@10": float(np.where(hit, 1 / np.log2(ranks + 2), 0).mean())}


def machine() -> dict[str, str]:
    """Processor, instruction sets and versions, for the row."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    sets = [
        name for name in ("avx2", "fma", "avx512f", "avx512_bf16") if name in facts.get("flags", "").split()
    ]
    return {
        "processor": facts.get("model name", platform.processor()),
        "isa": " ".join(sets) or platform.machine(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "metarec_sdk": getattr(metarec_sdk, "__version__", "0"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("METAREC_DATA", "data")))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--config", type=json.loads, default={}, help="JSON of SASRec arguments to change")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    histories, n_items = read(arguments.data)
    training = histories.first(histories.lengths - 2)
    config = {**CONFIG, "epochs": arguments.epochs, **arguments.config}
    backbone = SASRec(**config)
    begin, cpu = time.perf_counter(), time.process_time()

    def show(done: int, total: int, message: str) -> None:
        if "/" in message:
            print(f"{time.perf_counter() - begin:7.0f} s  {message}", flush=True)

    backbone.fit(TrainingLog(training, n_items), np.random.default_rng(arguments.seed), show)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    record = backbone.record
    assert record is not None

    found = {}
    for name, distance in (("validation", 2), ("test", 1)):
        targets = histories.items[histories.offsets[1:] - distance]
        found[name] = measure(backbone, histories.first(histories.lengths - distance), targets)
        print(name, {metric: round(value, 4) for metric, value in found[name].items()}, flush=True)
    row = {
        "bench": "sasrec_ml1m",
        "protocol": "leave-one-out, stable order by seq, full ranking, seen items masked, 6040 users",
        "seed": arguments.seed,
        "test": found["test"],
        "validation": found["validation"],
        "epochs_run": len(record.losses),
        "best_epoch": record.best_epoch + 1,
        "fit_seconds": round(seconds, 1),
        "fit_cpu_seconds": round(cpu, 1),
        "threads": arguments.threads,
        "config": config,
        "machine": machine(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    with arguments.results.open("a") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
