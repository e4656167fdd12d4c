"""Dropout whose noise comes from a generator of its own, so that a fit leaves torch's global seed alone."""

from __future__ import annotations

import torch
from torch import Tensor

_LEVELS = 256


class Dropout:
    """Zeroes each element with probability ``rate`` and scales the others by 1 / (1 − rate).

    One random byte an element: eight times fewer draws than a random number each, which on a CPU is most of
    the cost of dropout. So ``rate`` is rounded to a multiple of 1/256.
    """

    def __init__(self, rate: float, generator: torch.Generator) -> None:
        self._threshold = round(rate * _LEVELS)
        self._generator = generator

    def __call__(self, x: Tensor) -> Tensor:
        """x of any shape, dropped."""
        if self._threshold == 0:
            return x
        draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        draws.random_(-(2**63), None, generator=self._generator)
        noise = draws.view(torch.uint8)[: x.numel()].view(x.shape)
        kept = (noise >= self._threshold).to(x.dtype)
        return x * kept.mul_(_LEVELS / (_LEVELS - self._threshold))


def keep_all(x: Tensor) -> Tensor:
    """No dropout: what serving uses."""
    return x
