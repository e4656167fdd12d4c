"""Checks of the arguments of a backbone, with messages that name argument, bound and what was given."""

from __future__ import annotations

import math
from typing import Any

from metarec_sdk.errors import ArgumentError


def check_counts(**counts: Any) -> None:
    """Each must be an integer of at least 1."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ArgumentError(f"{name} must be an integer ≥ 1, got {count!r}")


def check_range(name: str, value: Any, low: float, high: float, *, above: bool = False) -> None:
    """A number in low … high; with ``above`` low itself is excluded."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value > high or value < low or (above and value == low):
        bound = f"above {low} and at most {high}" if above else f"in {low} … {high}"
        raise ArgumentError(f"{name} must be {bound}, got {value!r}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """One of the choices."""
    if value not in choices:
        raise ArgumentError(f"{name} must be one of {list(choices)}, got {value!r}")


def check_multiple(name: str, value: int, unit_name: str, unit: int) -> None:
    """A multiple of another argument."""
    if value % unit:
        raise ArgumentError(
            f"{name} must be a multiple of {unit_name}, got {name}={value} and {unit_name}={unit}"
        )
