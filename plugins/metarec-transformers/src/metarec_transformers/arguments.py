"""Checks of the arguments of a component, with messages that name argument, bound and what was given."""

from __future__ import annotations

import math
from typing import Any

import torch

from metarec_sdk.errors import ArgumentError


def check_counts(**counts: Any) -> None:
    """Each must be an integer of at least 1."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ArgumentError(f"{name} must be an integer ≥ 1, got {count!r}")


def check_number(name: str, value: Any, *, at_most: float, above: bool) -> None:
    """A number in 0 … at_most; with ``above`` 0 itself is excluded."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not 0 <= value <= at_most or (above and value == 0):
        bound = f"above 0 and at most {at_most}" if above else f"in 0 … {at_most}"
        raise ArgumentError(f"{name} must be {bound}, got {value!r}")


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """One of the choices, and of its type."""
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise ArgumentError(f"{name} must be one of {list(choices)}, got {value!r}")


def torch_device(device: str) -> torch.device:
    """The device that "cpu", "cuda" or "auto" (CUDA where there is one) stands for here."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ArgumentError("device='cuda' but torch finds no CUDA device; use device='auto' or 'cpu'")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
