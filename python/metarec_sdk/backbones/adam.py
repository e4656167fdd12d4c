"""Adam, which torch has too, without the compiler that its optimizers import: seconds at every first fit."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor


class Adam:
    """Kingma & Ba 2015 (arXiv:1412.6980), algorithm 1, with the gradient's norm clipped.

    ``m ← β₁m + (1 − β₁)g``, ``v ← β₂v + (1 − β₂)g²``, ``θ ← θ − rate · m̂ / (√v̂ + ε)`` with bias-corrected
    m̂ and v̂. β₂ = 0.98 as in SASRec's code. ``gradient_limit``: a gradient of larger norm over all parameters
    is scaled down to it, so that one bad batch can't undo a fit.
    """

    def __init__(self, parameters: Iterable[Tensor], *, gradient_limit: float = math.inf) -> None:
        self._parameters = list(parameters)
        self._gradient_limit = gradient_limit
        self._means = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._steps = 0
        self._betas = (0.9, 0.98)
        self._epsilon = 1e-8

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the parameters by their gradients, which are dropped; one without a gradient stays."""
        self._steps += 1
        first, second = self._betas
        scale = self._clipping()
        step_size = rate / (1 - first**self._steps)
        correction = math.sqrt(1 - second**self._steps)
        for parameter, mean, square in zip(self._parameters, self._means, self._squares):
            if parameter.grad is None:
                continue
            gradient = parameter.grad.mul_(scale)
            mean.lerp_(gradient, 1 - first)
            square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
            parameter.addcdiv_(mean, square.sqrt().div_(correction).add_(self._epsilon), value=-step_size)
            parameter.grad = None

    def _clipping(self) -> Tensor | float:
        """The factor ≤ 1 that brings the gradient within its limit, left on the device."""
        norms = [torch.linalg.vector_norm(p.grad) for p in self._parameters if p.grad is not None]
        if not norms or math.isinf(self._gradient_limit):
            return 1.0
        norm = torch.linalg.vector_norm(torch.stack(norms))
        factor: Tensor = self._gradient_limit / norm.clamp(min=self._gradient_limit)
        return factor
