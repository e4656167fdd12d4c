"""Mini-batch training that keeps the parameters of the best validation loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

LEAST_STEPS = 24
_MOMENTS = 0.9, 0.99
_EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train."""

    epochs: int = 12
    batch: int = 256
    """Rows in a step at most; fewer where an epoch would have under `LEAST_STEPS` steps."""
    rate: float = 0.01
    patience: int = 2
    """Epochs without a better validation loss before training ends."""


class Adam:
    """Adam (Kingma & Ba, ICLR 2015) on a few tensors; torch's own loads a compiler first, which takes longer
    than a whole fit here."""

    def __init__(self, parameters: Sequence[torch.Tensor], rate: float) -> None:
        self.parameters, self.rate, self.steps = list(parameters), rate, 0
        self.first = [torch.zeros_like(parameter) for parameter in parameters]
        self.second = [torch.zeros_like(parameter) for parameter in parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor | None]) -> None:
        """One step along -gradients; a parameter without one stays."""
        self.steps += 1
        low, high = (1 - moment**self.steps for moment in _MOMENTS)
        for parameter, gradient, first, second in zip(self.parameters, gradients, self.first, self.second):
            if gradient is None:
                continue
            first.lerp_(gradient, 1 - _MOMENTS[0])
            second.mul_(_MOMENTS[1]).addcmul_(gradient, gradient, value=1 - _MOMENTS[1])
            scale = (second / high).sqrt_().add_(_EPSILON)
            parameter.addcdiv_(first, scale, value=-self.rate / low)


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
    """Adam over shuffled mini-batches; the best validation loss, that of the start included.

    parameters: leaf tensors, changed in place and left at their best. ``loss_of(rows i64[b])`` gives a
    scalar. after_epoch may change the parameters in place before they are validated. tick(epoch, epochs)
    reports progress.
    """
    best = validate()
    kept = [parameter.detach().clone() for parameter in parameters]
    optimiser = Adam(parameters, schedule.rate)
    batch = min(schedule.batch, max(n_rows // LEAST_STEPS, 16))
    without = 0
    for epoch in range(schedule.epochs):
        for rows in torch.split(torch.randperm(n_rows, generator=generator), batch):
            for parameter in parameters:
                parameter.requires_grad_(True)
            gradients = torch.autograd.grad(loss_of(rows), list(parameters), allow_unused=True)
            for parameter in parameters:
                parameter.requires_grad_(False)
            optimiser.step(gradients)
        if after_epoch is not None:
            with torch.no_grad():
                after_epoch()
        loss = validate()
        if tick is not None:
            tick(epoch + 1, schedule.epochs)
        if loss < best:
            best, without = loss, 0
            kept = [parameter.clone() for parameter in parameters]
        elif (without := without + 1) >= schedule.patience:
            break
    for parameter, value in zip(parameters, kept):
        parameter.copy_(value)
    return best
