"""Seconds of a SASRec training epoch on MovieLens-1M, with the chunked cross-entropy against plain autograd.

    python benches/sasrec_epoch.py --threads 2

Both rows train the same network on the same windows in one process, in turn; the figure to read is the ratio.
The second table is the cross-entropy alone (3,706 items, width 64) in microseconds a position, forward and
backward. Appends one row to ``benches/results/sasrec_epoch.jsonl``. The data is found as in `sasrec_ml1m.py`;
without it the same shape is drawn at random (``--data none``), which costs the same.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))
from sasrec_ml1m import machine, read

from metarec_sdk.backbones import training
from metarec_sdk.backbones.cross_entropy import catalogue_cross_entropy
from metarec_sdk.backbones.sasrec import SASRec
from metarec_sdk.types import Histories, TrainingLog

RESULTS = Path(__file__).parent / "results" / "sasrec_epoch.jsonl"
CONFIG = {"width": 64, "history_limit": 50, "batch_size": 32, "epochs": 1, "holdout": "none", "device": "cpu"}


def plain_cross_entropy(
    hidden: Tensor, items: Tensor, targets: Tensor, weights: Tensor, **_: object
) -> Tensor:
    """What torch offers: all logits at once, autograd backward."""
    return (F.cross_entropy(hidden @ items.T, targets, reduction="none") * weights).sum()


def random_log(users: int, n_items: int, seed: int) -> TrainingLog:
    """Histories with the lengths of ml-1m (mean 166) and Zipf-like items."""
    rng = np.random.default_rng(seed)
    lengths = np.maximum(20, rng.lognormal(4.6, 0.95, users)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    e = int(offsets[-1])
    items = np.minimum(n_items - 1, n_items * rng.random(e) ** 2.5).astype(np.int32)
    return TrainingLog(Histories(items, offsets, np.ones(e, np.float32), np.arange(e)), n_items)


def epoch_seconds(log: TrainingLog, seed: int) -> float:
    """Training time of one epoch, without reading, building and validation."""
    backbone = SASRec(**CONFIG)
    backbone.fit(log, np.random.default_rng(seed))
    assert backbone.record is not None
    return backbone.record.seconds[0]


def microseconds_a_position(loss: Callable[..., Tensor], positions: int = 1600, n: int = 3706) -> float:
    """Forward and backward of one batch, the median of five."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(positions, 64, generator=generator, requires_grad=True)
    items = (0.1 * torch.randn(n, 64, generator=generator)).requires_grad_()
    targets = torch.randint(n, (positions,), generator=generator)
    weights = torch.full((positions,), 1 / positions)
    times = []
    for _ in range(6):
        begin = time.perf_counter()
        loss(hidden, items, targets, weights).backward()
        times.append(time.perf_counter() - begin)
    return median(times[1:]) / positions * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("METAREC_DATA", "data"))
    parser.add_argument(
        "--users", type=int, default=1000, help="users to train on; the epoch is scaled up to all"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    if arguments.data == "none":
        log = random_log(6040, 3706, seed=0)
    else:
        histories, n_items = read(Path(arguments.data))
        log = TrainingLog(histories, n_items)
    chosen = np.random.default_rng(0).choice(len(log), min(arguments.users, len(log)), replace=False)
    part = log.take(np.sort(chosen))
    scale = len(log.histories.items) / len(part.histories.items)
    chunked, plain = [], []
    for repeat in range(arguments.repeats):
        chunked.append(epoch_seconds(part, repeat) * scale)
        with mock.patch.object(training, "catalogue_cross_entropy", plain_cross_entropy):
            plain.append(epoch_seconds(part, repeat) * scale)
    row = {
        "bench": "sasrec_epoch",
        "data": "drawn at random" if arguments.data == "none" else "ml-1m",
        "events": len(log.histories.items),
        "epoch_seconds": round(median(chunked), 2),
        "epoch_seconds_plain": round(median(plain), 2),
        "epoch_ratio": round(median(p / c for p, c in zip(plain, chunked)), 2),
        "cross_entropy_us": round(microseconds_a_position(catalogue_cross_entropy), 1),
        "cross_entropy_us_plain": round(microseconds_a_position(plain_cross_entropy), 1),
        "threads": arguments.threads,
        "scaled_from_users": len(part),
        "config": CONFIG,
        "machine": machine(),
    }
    print(json.dumps(row, indent=2))
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    with arguments.results.open("a") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
