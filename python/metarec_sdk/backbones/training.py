"""The training loop of a network: Adam, held-out users, early stopping, best weights back.

`Stability: stable`. A backbone of your own trains with it: a `Network`, a `Sampler`, a `TrainingPlan`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarec_sdk.backbones.adam import Adam
from metarec_sdk.backbones.cross_entropy import catalogue_cross_entropy
from metarec_sdk.backbones.dropout import Dropout
from metarec_sdk.backbones.holdout import HoldoutMode, hold_out
from metarec_sdk.backbones.network import Network, Sampler
from metarec_sdk.backbones.windows import Batch
from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import Histories, Progress

_PROGRESS_SECONDS = 0.5
_PROGRESS_STEPS = 1000
"""Steps of the progress bar in an epoch."""
_GRADIENT_LIMIT = 5.0
_LEAST_MASS = 1e-12
"""Below every sum of event weights that counts: the divisor where no event of a batch does."""
_FINAL_RATE = 0.02
"""Share of the learning rate that the cosine schedule ends at."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How to train."""

    history_limit: int
    """Events that the network reads: the last ones of longer held-out histories."""
    dropout: float
    """Rate of the ``drop`` that the network is given, rounded to 1/256."""
    epochs: int
    """At most; the learning rate falls over all of them."""
    learning_rate: float
    """Peak of Adam's rate."""
    patience: int
    """Epochs without a better validation NDCG@10 after which training stops."""
    low_precision: bool
    """Train under autocast with bfloat16 products; weights stay float32."""
    negatives: int | None
    """Sampled negatives a step, or None for the whole catalogue."""
    holdout: HoldoutMode
    """What early stopping is judged on; see `hold_out`."""


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


class Trainer:
    """One fit of one network."""

    def __init__(self, model: Network, plan: TrainingPlan, rng: np.random.Generator) -> None:
        self._model = model
        self._plan = plan
        self._rng = rng
        self._n_items, self._device = len(model.table()), model.table().device
        self._optimizer = Adam(model.parameters(), gradient_limit=_GRADIENT_LIMIT)
        generator = torch.Generator(self._device).manual_seed(int(rng.integers(2**63)))
        self._drop = Dropout(plan.dropout, generator)

    def fit(
        self, histories: Histories, sampler_of: Callable[[Histories], Sampler], progress: Progress
    ) -> TrainingRecord:
        """Train and leave the best weights in the network.

        ``sampler_of`` makes the sampler from the histories that aren't held out.

        Raises:
            ArgumentError: no event has a positive weight, or the loss stopped being finite.
        """
        plan = self._plan
        training, held_out = hold_out(histories, plan.holdout, self._rng)
        if not training.weights.any():
            raise ArgumentError("every event of the log has weight 0: there is nothing to train on")
        sampler = sampler_of(training)
        record = TrainingRecord()
        best: tuple[float, dict[str, Tensor]] | None = None
        total = plan.epochs * _PROGRESS_STEPS
        for epoch in range(plan.epochs):
            begin = time.monotonic()
            record.losses.append(self._epoch(sampler, epoch, progress))
            if not math.isfinite(record.losses[-1]):
                raise ArgumentError(
                    f"training diverged in epoch {epoch + 1}: the loss isn't finite; use a learning_rate "
                    f"below {plan.learning_rate}"
                )
            record.seconds.append(time.monotonic() - begin)
            message = f"epoch {epoch + 1}/{plan.epochs}, loss {record.losses[-1]:.3f}"
            if len(held_out):
                record.validation.append(held_out.ndcg(self._model, plan.history_limit))
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

    def _epoch(self, sampler: Sampler, epoch: int, progress: Progress) -> float:
        loss, mass, batches = 0.0, 0.0, sampler.n_batches()
        last_report = time.monotonic()
        for step, batch in enumerate(sampler.epoch(self._rng)):
            done = min(step / batches, 1.0)
            batch_mass = float(batch.weights.sum(dtype=np.float64))
            if batch_mass > 0:
                loss += self._step(batch, self._rate(epoch + done)) * batch_mass
                mass += batch_mass
            if time.monotonic() - last_report > _PROGRESS_SECONDS:
                last_report = time.monotonic()
                steps = int((epoch + done) * _PROGRESS_STEPS)
                message = f"epoch {epoch + 1}, loss {loss / max(mass, _LEAST_MASS):.3f}"
                progress(steps, self._plan.epochs * _PROGRESS_STEPS, message)
        return loss / max(mass, _LEAST_MASS)

    def _rate(self, epoch: float) -> float:
        """Linear warm-up over half an epoch, then a cosine down to `_FINAL_RATE` at the last epoch."""
        warm = min(1.0, (epoch + 0.01) / 0.5)
        fall = 0.5 * (1 + math.cos(math.pi * min(epoch / self._plan.epochs, 1.0)))
        return self._plan.learning_rate * warm * (_FINAL_RATE + (1 - _FINAL_RATE) * fall)

    def _step(self, batch: Batch, rate: float) -> float:
        model, device = self._model, self._device
        low_precision = torch.bfloat16 if self._plan.low_precision else None
        targets, weights = (torch.from_numpy(part).to(device) for part in (batch.targets, batch.weights))
        with torch.autocast(device.type, torch.bfloat16, enabled=self._plan.low_precision):
            hidden = model.states(batch, self._drop)  # [b, t, d]
        judged = weights > 0
        shares = weights[judged]
        loss = catalogue_cross_entropy(
            hidden[judged].float(),
            model.table(),
            targets[judged],
            shares / shares.sum(),
            negatives=self._negatives(),
            low_precision=low_precision,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step(rate)
        return float(loss.detach())

    def _negatives(self) -> Tensor | None:
        count, n = self._plan.negatives, self._n_items
        if count is None or count >= n:
            return None
        return torch.from_numpy(self._rng.choice(n, count, replace=False, shuffle=False)).to(self._device)


def _copy(model: Network) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
