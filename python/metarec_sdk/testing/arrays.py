"""Inputs and results in other clothes: strided, copied, overwritten, through a file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_sdk.types import State


def mapped(value: Any, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Any:
    """The value with every array in it exchanged, however deep in dataclasses."""
    if isinstance(value, np.ndarray):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        return replace(value, **{name: mapped(part, change) for name, part in parts.items()})
    return value


def strided(value: Any) -> Any:
    """The same values in arrays that aren't contiguous; a frame in two chunks."""
    if isinstance(value, pl.DataFrame) and value.height > 1:
        middle = value.height // 2
        return pl.concat([value.head(middle), value.tail(value.height - middle)], rechunk=False)
    return mapped(value, lambda array: np.repeat(array, 2, axis=-1)[..., ::2])


def owned(value: Any) -> Any:
    """The same values in writeable copies."""
    return mapped(value, np.array)


def changed_in_place(value: Any) -> None:
    """Overwrite every writeable array in the value with its opposite."""
    if isinstance(value, np.ndarray):
        with contextlib.suppress(ValueError):  # read-only: nothing can go wrong then
            value[...] = ~value if value.dtype == bool else value + 1
    elif isinstance(value, Mapping):
        for part in value.values():
            changed_in_place(part)
    elif isinstance(value, list | tuple):
        for part in value:
            changed_in_place(part)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            changed_in_place(getattr(value, field.name))


def round_trip(state: State) -> State:
    """The state as it comes back from a safetensors file."""
    from safetensors.numpy import load, save

    loaded: State = load(save({name: np.ascontiguousarray(array) for name, array in state.items()}))
    return loaded
