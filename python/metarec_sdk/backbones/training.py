"""The training loop of SASRec: Adam, held-out users, early stopping, best weights back."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from metarec_sdk.backbones.cross_entropy import catalogue_cross_entropy
from metarec_sdk.backbones.dropout import Dropout
from metarec_sdk.backbones.sasrec_model import SASRecModel
from metarec_sdk.backbones.windows import Batch, WindowSampler
from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import Bool, Histories, Progress

HOLDOUT_SHARE = 0.1
HOLDOUT_LIMIT = 512
_PROGRESS_SECONDS = 0.5
_PROGRESS_STEPS = 1000
"""Steps of the progress bar in an epoch."""
_GRADIENT_LIMIT = 5.0
"""Gradients of a larger norm are scaled down to it: one bad batch can't undo a fit."""
_FINAL_RATE = 0.02
"""Share of the learning rate that the cosine schedule ends at."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How to train, in the words of `SASRec`'s arguments."""

    history_limit: int
    dropout: float
    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    low_precision: bool
    set_target: bool
    negatives: int | None
    short_share: float
    holdout: Literal["users", "events", "none"]


@dataclass(slots=True)
class TrainingRecord:
    """What happened in a fit."""

    validation: list[float] = field(default_factory=list)
    """NDCG@10 of the held-out next items after each epoch, full ranking; empty without a hold-out."""
    losses: list[float] = field(default_factory=list)
    """Mean weighted cross-entropy in nats of each epoch."""
    seconds: list[float] = field(default_factory=list)
    """Wall-clock seconds of each epoch's training, validation left out."""
    best_epoch: int = 0
    """Index of the epoch whose weights were kept."""


def hold_out(
    histories: Histories, mode: Literal["users", "events", "none"], rng: np.random.Generator
) -> tuple[Histories, Histories]:
    """(what to train on, histories whose last event is the validation target).

    At most `HOLDOUT_SHARE` of the users and `HOLDOUT_LIMIT` of them, among those with two events or more.
    ``"users"`` keeps all their events from training, ``"events"`` only the last one, ``"none"`` holds out
    nobody.
    """
    eligible = np.flatnonzero(histories.lengths >= 2)
    size = min(int(HOLDOUT_SHARE * len(eligible)), HOLDOUT_LIMIT)
    if mode == "none" or size == 0:
        return histories, histories.take(slice(0, 0))
    chosen = np.sort(rng.choice(eligible, size, replace=False))
    if mode == "events":
        lengths = histories.lengths.copy()
        lengths[chosen] -= 1
        return histories.first(lengths), histories.take(chosen)
    kept: Bool = np.ones(len(histories), np.bool_)
    kept[chosen] = False
    return histories.take(kept), histories.take(chosen)


def next_item_ndcg(model: SASRecModel, held_out: Histories, history_limit: int, rows: int = 128) -> float:
    """Mean NDCG@10 of the last event of each history, ranked against all items not seen before it."""
    gains = []
    device = model.items.device
    for first in range(0, len(held_out), rows):
        part = held_out.take(slice(first, first + rows))
        context = part.first(part.lengths - 1)
        target = torch.from_numpy(part.items[part.offsets[1:] - 1].astype(np.int64)).to(device)
        scores = encode_batch(model, context.last(history_limit)) @ model.items.T  # [b, n]
        target_score = scores.gather(1, target[:, None])
        seen = torch.from_numpy(context.items.astype(np.int64)).to(device)
        row = np.repeat(np.arange(len(part)), context.lengths)
        scores[torch.from_numpy(row).to(device), seen] = -math.inf
        # A target seen before (a repeat) is itself masked, so it never counts against its own rank; items that
        # tie with the target count half, as in a random order of ties.
        above = (scores > target_score).sum(1).to(torch.float64)
        level = (scores == target_score).sum(1) - (scores.gather(1, target[:, None]) == target_score)[
            :, 0
        ].long()
        rank = above + 0.5 * level
        gains.append(torch.where(rank < 10, 1.0 / torch.log2(rank + 2.0), 0.0).cpu())
    return float(torch.cat(gains).mean())


@torch.no_grad()
def encode_batch(model: SASRecModel, histories: Histories) -> Tensor:
    """Queries [b, d] of at most history_limit events a row."""
    return model.finish(last_inputs(model, histories), no_delta)


@torch.no_grad()
def last_inputs(model: SASRecModel, histories: Histories) -> dict[str, Tensor]:
    """`SASRecModel.last_inputs` of ragged rows."""
    lengths = histories.lengths
    real = np.arange(int(lengths.max(initial=0))) < lengths[:, None]  # [b, l]
    padded = np.zeros(real.shape, np.int64)
    padded[real] = histories.items
    device = model.items.device
    return model.last_inputs(torch.from_numpy(padded).to(device), torch.from_numpy(lengths).to(device))


def no_delta(site: str, x: Tensor) -> Tensor:
    """The adapter that changes nothing."""
    return x.new_zeros(())


class Trainer:
    """One fit of one model."""

    def __init__(self, model: SASRecModel, plan: TrainingPlan, rng: np.random.Generator) -> None:
        self._model = model
        self._plan = plan
        self._rng = rng
        self._device = model.items.device
        self._optimizer = torch.optim.Adam(model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98))
        generator = torch.Generator(self._device).manual_seed(int(rng.integers(2**63)))
        self._drop = Dropout(plan.dropout, generator)

    def fit(self, histories: Histories, progress: Progress) -> TrainingRecord:
        """Train and leave the best weights in the model."""
        plan = self._plan
        training, held_out = hold_out(histories, plan.holdout, self._rng)
        if not training.weights.any():
            raise ArgumentError("every event of the log has weight 0: there is nothing to train on")
        sampler = WindowSampler(
            training,
            history_limit=plan.history_limit,
            short_share=plan.short_share,
            set_target=plan.set_target,
            batch_size=plan.batch_size,
        )
        record = TrainingRecord()
        best: tuple[float, dict[str, Tensor]] | None = None
        total = plan.epochs * _PROGRESS_STEPS
        for epoch in range(plan.epochs):
            begin = time.monotonic()
            record.losses.append(self._epoch(sampler, epoch, progress))
            record.seconds.append(time.monotonic() - begin)
            message = f"epoch {epoch + 1}/{plan.epochs}, loss {record.losses[-1]:.3f}"
            if len(held_out):
                record.validation.append(next_item_ndcg(self._model, held_out, plan.history_limit))
                message += f", NDCG@10 {record.validation[-1]:.4f}"
                if best is None or record.validation[-1] > best[0]:
                    best = (record.validation[-1], _copy(self._model))
                    record.best_epoch = epoch
            else:
                record.best_epoch = epoch
            stopping = len(held_out) > 0 and epoch - record.best_epoch >= plan.patience
            progress(total if stopping else (epoch + 1) * _PROGRESS_STEPS, total, message)
            if stopping:
                break
        if best is not None:
            self._model.load_state_dict(best[1])
        return record

    def _epoch(self, sampler: WindowSampler, epoch: int, progress: Progress) -> float:
        loss, mass, batches = 0.0, 0.0, sampler.n_batches()
        last_report = time.monotonic()
        for step, batch in enumerate(sampler.epoch(self._rng)):
            done = min(step / batches, 1.0)
            self._set_rate(epoch + done)
            batch_mass = float(batch.weights.sum(dtype=np.float64))
            if batch_mass > 0:
                loss += self._step(batch) * batch_mass
                mass += batch_mass
            if time.monotonic() - last_report > _PROGRESS_SECONDS:
                last_report = time.monotonic()
                steps = int((epoch + done) * _PROGRESS_STEPS)
                progress(
                    steps, self._plan.epochs * _PROGRESS_STEPS, f"epoch {epoch + 1}, loss {loss / mass:.3f}"
                )
        return loss / mass if mass > 0 else math.nan

    def _set_rate(self, epoch: float) -> None:
        """Linear warm-up over half an epoch, then a cosine down to `_FINAL_RATE` at the last epoch."""
        warm = min(1.0, (epoch + 0.01) / 0.5)
        fall = 0.5 * (1 + math.cos(math.pi * min(epoch / self._plan.epochs, 1.0)))
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.learning_rate * warm * (_FINAL_RATE + (1 - _FINAL_RATE) * fall)

    def _step(self, batch: Batch) -> float:
        model, device = self._model, self._device
        low_precision = torch.bfloat16 if self._plan.low_precision else None
        inputs, targets, weights = (
            torch.from_numpy(part).to(device) for part in (batch.inputs, batch.targets, batch.weights)
        )
        with torch.autocast(device.type, torch.bfloat16, enabled=self._plan.low_precision):
            hidden = model(inputs, self._drop)  # [b, l + 1, d]
        judged = weights > 0
        shares = weights[judged]
        loss = catalogue_cross_entropy(
            hidden[judged].float(),
            model.items,
            targets[judged],
            shares / shares.sum(),
            negatives=self._negatives(),
            low_precision=low_precision,
        )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), _GRADIENT_LIMIT)
        self._optimizer.step()
        return float(loss.detach())

    def _negatives(self) -> Tensor | None:
        count, n = self._plan.negatives, len(self._model.items)
        if count is None or count >= n:
            return None
        return torch.from_numpy(self._rng.choice(n, count, replace=False, shuffle=False)).to(self._device)


def _copy(model: SASRecModel) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
