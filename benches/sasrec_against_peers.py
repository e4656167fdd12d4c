"""SASRec training epochs with full softmax, against RecBole's and RecTools' SASRec (long).

    make bench-sasrec    # installs the peers into an environment of their own; MovieLens-100k
    make bench-sasrec OPTIONS='--data ml-1m --max-users 1500 --without-slow'

One process, one thread, on a CPU. Rounds of one epoch each alternate between our `SASRec` in float32 and in
bfloat16, the same network with torch's own cross-entropy, RecTools' ``SASRecModel`` with its softmax loss,
and RecBole's ``SASRec`` with ``loss_type: CE``: once with the batch size of the others, once with the 2,048
rows that are its default. Everybody has the same users, items, batch size, width, blocks, heads,
feed-forward width, history limit and dropout rate, and its own optimizer, loader and training loop.

An epoch isn't the same work everywhere. So the positions trained in it are counted, and the time is given
for an epoch and for a position:

- ours: windows at a random phase; every event is predicted once;
- RecTools: of every user the last ``history_limit + 1`` events, of which all but the first are predicted;
  rows are padded to ``history_limit``, and the softmax is over the items of these events only;
- RecBole: every event but a user's first has a padded row of its own with one target, so that up to
  ``history_limit`` events are read for each position.

Timed is the pass over the batches: not reading, nor what a peer prepares once before its first epoch; of
ours the making of the network too. Importing RecBole turns torch's anomaly detection on for the whole
process (a line in its SINE model); it is off here, for RecBole as well. Seconds are medians over the rounds
after a short warm-up, by the wall clock and of the processor. Ratios are medians of the ratio within a
round of processor time, above 1 where we are faster. Appends one row to
``benches/results/sasrec_against_peers.jsonl``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "METAREC_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from pytorch_lightning import Callback, Trainer  # noqa: E402
from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset  # noqa: E402
from recbole.data.dataloader import TrainDataLoader  # noqa: E402
from recbole.model.sequential_recommender import SASRec as RecBoleSASRec  # noqa: E402
from recbole.trainer import Trainer as RecBoleTrainer  # noqa: E402
from rectools import Columns  # noqa: E402
from rectools.dataset import Dataset  # noqa: E402
from rectools.models import SASRecModel  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from _record import append, machine  # noqa: E402
from sasrec_epoch import plain_cross_entropy  # noqa: E402

from metarec_sdk.backbones import training  # noqa: E402
from metarec_sdk.backbones.sasrec import SASRec  # noqa: E402
from metarec_sdk.backbones.windows import WindowSampler  # noqa: E402
from metarec_sdk.data import datasets, encode  # noqa: E402
from metarec_sdk.types import Histories, TrainingLog  # noqa: E402

WIDTH, BLOCKS, HEADS, HISTORY_LIMIT, DROPOUT, BATCH_SIZE = 64, 2, 2, 50, 0.2, 32
LEARNING_RATE = 1e-3
RECBOLE_BATCH_SIZE = 2048
WARM_UP_USERS = 16
OURS = "ours, fp32"

Seconds = tuple[float, float]
"""Of an epoch: by the wall clock, and of the processor."""


@dataclass(frozen=True)
class Side:
    """One contender on one log."""

    epoch: Callable[[], Seconds]
    positions: int
    """Targets trained in an epoch."""
    steps: int
    """Steps of the optimizer in an epoch."""
    items: int
    """In the softmax; of a peer with the padding."""


def now() -> Seconds:
    return time.perf_counter(), time.process_time()


def since(begin: Seconds) -> Seconds:
    wall, processor = now()
    return wall - begin[0], processor - begin[1]


def read(name: str, max_users: int) -> TrainingLog:
    """At most so many users, drawn at random, and the items that they have."""
    log, _, _ = encode(datasets.load(name).interactions)
    chosen = np.random.default_rng(0).choice(len(log), min(max_users, len(log)), replace=False)
    histories = log.take(np.sort(chosen)).histories
    items, index = np.unique(histories.items, return_inverse=True)
    compact = Histories(index.astype(np.int32), histories.offsets, histories.weights, histories.timestamps)
    return TrainingLog(compact, len(items))


def table(log: TrainingLog) -> pd.DataFrame:
    """user, item and place in the user's history, a row for each event."""
    histories = log.histories
    users = np.repeat(np.arange(len(log)), histories.lengths)
    places = np.arange(len(histories.items)) - histories.offsets[:-1][users]
    return pd.DataFrame({"user": users, "item": histories.items, "place": places})


def ours(log: TrainingLog, precision: str = "fp32", *, plain: bool = False) -> Side:
    settings: dict[str, Any] = {
        "width": WIDTH,
        "blocks": BLOCKS,
        "heads": HEADS,
        "history_limit": HISTORY_LIMIT,
        "dropout": DROPOUT,
        "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
        "epochs": 1,
        "holdout": "none",
        "device": "cpu",
        "precision": precision,
    }

    def epoch() -> Seconds:
        backbone = SASRec(**settings)
        with contextlib.ExitStack() as stack:
            if plain:
                stack.enter_context(
                    mock.patch.object(training, "catalogue_cross_entropy", plain_cross_entropy)
                )
            begin = now()
            backbone.fit(log, np.random.default_rng(0))
            return since(begin)

    sampler = WindowSampler(
        log.histories,
        history_limit=HISTORY_LIMIT,
        short_share=SASRec().short_share,
        set_target=False,
        batch_size=BATCH_SIZE,
    )
    counts = [int((batch.weights > 0).sum()) for batch in sampler.epoch(np.random.default_rng(0))]
    return Side(epoch, sum(counts), len(counts), log.n_items)


class EpochTimer(Callback):
    """The time between the first and the last batch of Lightning's last epoch."""

    def on_train_epoch_start(self, *_: object) -> None:
        self.begin = now()

    def on_train_epoch_end(self, *_: object) -> None:
        self.seconds = since(self.begin)


def lightning_trainer() -> Trainer:
    """RecTools' default one with a timer, and on the CPU."""
    return Trainer(
        max_epochs=1,
        min_epochs=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        enable_checkpointing=False,
        devices=1,
        accelerator="cpu",
        callbacks=[EpochTimer()],
    )


def rectools(log: TrainingLog) -> Side:
    events = table(log)
    begin = pd.Timestamp("2000-01-01")
    dataset = Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: events["user"],
                Columns.Item: events["item"],
                Columns.Weight: 1.0,
                Columns.Datetime: begin + pd.to_timedelta(events["place"], unit="s"),
            }
        )
    )
    model = SASRecModel(
        n_blocks=BLOCKS,
        n_heads=HEADS,
        n_factors=WIDTH,
        dropout_rate=DROPOUT,
        session_max_len=HISTORY_LIMIT,
        loss="softmax",
        lr=LEARNING_RATE,
        batch_size=BATCH_SIZE,
        get_trainer_func=lightning_trainer,
    )

    def epoch() -> Seconds:
        model.fit(dataset)
        (timer,) = (found for found in model.fit_trainer.callbacks if isinstance(found, EpochTimer))
        return timer.seconds

    model.data_preparator.process_dataset_train(dataset)
    counts = [int((batch["y"] != 0).sum()) for batch in model.data_preparator.get_dataloader_train()]
    return Side(epoch, sum(counts), len(counts), model.data_preparator.item_id_map.size)


def recbole(log: TrainingLog, folder: Path, batch_size: int) -> Side:
    data = folder / "events"
    data.mkdir(exist_ok=True)
    table(log).to_csv(
        data / "events.inter",
        sep="\t",
        index=False,
        header=["user_id:token", "item_id:token", "timestamp:float"],
    )
    settings = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "order": "TO", "group_by": "user", "mode": "full"},
        "train_neg_sample_args": None,
        "train_batch_size": batch_size,
        "MAX_ITEM_LIST_LENGTH": HISTORY_LIMIT,
        "loss_type": "CE",
        "n_layers": BLOCKS,
        "n_heads": HEADS,
        "hidden_size": WIDTH,
        "inner_size": WIDTH,
        "hidden_dropout_prob": DROPOUT,
        "attn_dropout_prob": 0.0,  # ours has none there either, and it costs time
        "learning_rate": LEARNING_RATE,
        "use_gpu": False,
        "show_progress": False,
    }
    # RecBole reads the command line as settings, and writes a log for TensorBoard where it is.
    with contextlib.chdir(folder), mock.patch.object(sys, "argv", sys.argv[:1]):
        config = Config(model="SASRec", dataset="events", config_dict=settings)
        prepared = create_dataset(config).build()[0]
        loader = TrainDataLoader(config, prepared, None, shuffle=True)
        trainer = RecBoleTrainer(config, RecBoleSASRec(config, prepared))

    def epoch() -> Seconds:
        begin = now()
        trainer._train_epoch(loader, 0)
        return since(begin)

    return Side(epoch, len(prepared), len(loader), prepared.item_num)


def sides(log: TrainingLog, folder: Path, *, with_slow: bool) -> dict[str, Side]:
    found = {
        OURS: ours(log),
        "our network, torch's cross-entropy": ours(log, plain=True),
        "RecTools": rectools(log),
    }
    if with_slow:
        found["ours, bf16"] = ours(log, "bf16")
        folder.mkdir()
        for batch_size in (BATCH_SIZE, RECBOLE_BATCH_SIZE):
            found[f"RecBole, {batch_size} rows"] = recbole(log, folder, batch_size)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="movielens-100k", help="a data set that can be loaded by name")
    parser.add_argument("--max-users", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-slow", action="store_true", help="leave out RecBole and bfloat16")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    torch.autograd.set_detect_anomaly(False)  # importing RecBole turned it on
    warnings.simplefilter("ignore")  # of the peers' about deprecated calls and few workers
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    load = os.getloadavg()[0]
    log = read(arguments.data, arguments.max_users)
    few = log.take(np.arange(min(WARM_UP_USERS, len(log))))
    with_slow = not arguments.without_slow
    with tempfile.TemporaryDirectory() as scratch:
        for side in sides(few, Path(scratch) / "few", with_slow=with_slow).values():
            side.epoch()
        contenders = sides(log, Path(scratch) / "all", with_slow=with_slow)
        seconds: dict[str, list[Seconds]] = {name: [] for name in contenders}
        for _ in range(arguments.rounds):
            for name, side in contenders.items():
                seconds[name].append(side.epoch())
                assert not torch.is_anomaly_enabled()
                print(f"{name:36} {seconds[name][-1][0]:8.2f} s", file=sys.stderr)

    rows = {}
    for name, side in contenders.items():
        wall, processor = (median(clock) for clock in zip(*seconds[name]))
        relative = contenders[OURS].positions / side.positions
        ratios = [other[1] / own[1] for other, own in zip(seconds[name], seconds[OURS])]
        rows[name] = {
            "epoch_seconds": round(wall, 2),
            "epoch_cpu_seconds": round(processor, 2),
            "positions": side.positions,
            "steps": side.steps,
            "items": side.items,
            "us_a_position": round(wall / side.positions * 1e6, 1),
            "cpu_us_a_position": round(processor / side.positions * 1e6, 1),
            "cpu_ratio_epoch": round(median(ratios), 2),
            "cpu_ratio_position": round(median(ratios) * relative, 2),
            "rounds_seconds": [[round(value, 2) for value in pair] for pair in seconds[name]],
        }
    print(json.dumps(rows, indent=1), file=sys.stderr)
    append(
        "sasrec_against_peers",
        {
            "data": arguments.data,
            "users": len(log),
            "items": log.n_items,
            "events": len(log.histories.items),
            "width": WIDTH,
            "blocks": BLOCKS,
            "heads": HEADS,
            "feedforward": WIDTH,
            "history_limit": HISTORY_LIMIT,
            "dropout": DROPOUT,
            "batch_size": BATCH_SIZE,
            "threads": torch.get_num_threads(),
            "rounds": arguments.rounds,
            "load_before": round(load, 1),
            "load_after": round(os.getloadavg()[0], 1),
            "rows": rows,
            **machine("torch", "recbole", "rectools", "pytorch-lightning"),
        },
    )


if __name__ == "__main__":
    main()
