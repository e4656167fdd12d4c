"""Mini-batch training that keeps the parameters of the best validation loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train."""

    epochs: int = 12
    batch: int = 256
    rate: float = 0.01
    patience: int = 2
    """Epochs without a better validation loss before training ends."""


def train(
    parameters: Sequence[torch.Tensor],
    loss_of: Callable[[torch.Tensor], torch.Tensor],
    validate: Callable[[], float],
    *,
    n_rows: int,
    schedule: Schedule,
    generator: torch.Generator,
    after_epoch: Callable[[], None] | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> float:
    """Adam over shuffled mini-batches (Kingma & Ba 2015); the best validation loss, start included.

    parameters: leaf tensors, changed in place and left at their best. ``loss_of(rows i64[b])`` gives a
    scalar. after_epoch may change the parameters in place before they are validated. tick(epoch, epochs)
    reports progress.
    """
    best = validate()
    kept = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.Adam(list(parameters), lr=schedule.rate, betas=(0.9, 0.99))
    without = 0
    for epoch in range(schedule.epochs):
        for rows in torch.randperm(n_rows, generator=generator).split(schedule.batch):
            optimiser.zero_grad(set_to_none=True)
            loss_of(rows).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        if after_epoch is not None:
            with torch.no_grad():
                after_epoch()
        loss = validate()
        if tick is not None:
            tick(epoch + 1, schedule.epochs)
        if loss < best:
            best, without = loss, 0
            kept = [parameter.detach().clone() for parameter in parameters]
        elif (without := without + 1) >= schedule.patience:
            break
    for parameter, value in zip(parameters, kept):
        parameter.requires_grad_(False)
        parameter.copy_(value)
    return best
