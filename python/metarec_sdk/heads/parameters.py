"""Checks of constructor arguments and of restored arrays, with messages that name the bound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, ArtefactError
from metarec_sdk.types import Float32


def whole(name: str, value: int, least: int, most: int) -> int:
    """A whole number from ``least`` to ``most``, else `ArgumentError`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ArgumentError(f"{name} is {value!r}, expected a whole number from {least} to {most}")
    return value


def number(name: str, value: float, *, above: float | None = None, least: float | None = None) -> float:
    """A finite number, greater than ``above`` or at least ``least``, else `ArgumentError`."""
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if above is not None:
        fine, bound = fine and value > above, f"above {above}"
    else:
        fine, bound = fine and (least is None or value >= least), f"of at least {least}"
    if not fine:
        raise ArgumentError(f"{name} is {value!r}, expected a finite number {bound}")
    return float(value)


def restored(
    component: str, state: Mapping[str, NDArray[Any]], name: str, shape: tuple[int | None, ...]
) -> Float32:
    """The array ``name`` of ``state`` as C-contiguous, finite float32 of ``shape`` (None: any), else
    `ArtefactError`."""
    if name not in state:
        raise ArtefactError(f"{component}: the state has no array {name!r}; it has {sorted(state)}")
    array = np.ascontiguousarray(state[name], dtype=np.float32)
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape)
    )
    if not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise ArtefactError(f"{component}: {name} has shape {array.shape}, expected ({wanted})")
    if not np.isfinite(array).all():
        raise ArtefactError(f"{component}: {name} holds NaN or infinity")
    return array
