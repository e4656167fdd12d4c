"""What the models share: columns of events, labels, weights, and their states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_sdk.errors import ArtefactError, ColumnError, DataError, NotFittedError
from metarec_sdk.types import Float32, Float64, State


def numbers(events: pl.DataFrame, name: str, role: str) -> Float64:
    """f64[e] of a column that must be there, NaN where null.

    Raises `ColumnError` where it is missing or not numeric.
    """
    if name not in events.columns:
        raise ColumnError.missing(name, role, events.columns)
    column = events[name]
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise ColumnError(f"column {name!r} is {column.dtype}, wanted numbers; cast it first")
    return column.cast(pl.Float64).to_numpy()


def labelled(events: pl.DataFrame, label: str) -> tuple[pl.DataFrame, Float64]:
    """The events whose label isn't null, and their labels f64[l].

    Raises `ColumnError` for a missing or non-numeric label, `DataError` for none or one that isn't finite.
    """
    values = numbers(events, label, "label")
    known = events[label].is_not_null().to_numpy()
    if not known.any():
        raise DataError(f"label column {label!r} has no value; the model learns from it")
    if not np.isfinite(values[known]).all():
        row = int(np.flatnonzero(known & ~np.isfinite(values))[0])
        raise DataError(f"row {row}: label {label!r} isn't finite; drop the row or set it null")
    return events.filter(pl.Series(known)), values[known]


def microseconds(events: pl.DataFrame) -> NDArray[np.int64]:
    """i64[e], the timestamps; raises `ColumnError` where there are none, `DataError` where one is null."""
    if "timestamp" not in events.columns:
        raise ColumnError.missing("timestamp", "time", events.columns)
    if events["timestamp"].null_count():
        row = events["timestamp"].is_null().arg_true()[0]
        raise DataError(f"row {row}: timestamp is null; delays need the time of every event")
    return events["timestamp"].cast(pl.Int64).to_numpy()


def answer(relevance: Float64, weights: Float64, scale: float) -> tuple[Float32, Float32]:
    """(target f32[e], weight f32[e]), the weights in units of their mean in the fit."""
    return relevance.astype(np.float32), (weights / scale).astype(np.float32)


def mean_weight(weights: Float64) -> float:
    """The scale that gives the log of the fit the mean weight 1; raises `DataError` where all are 0."""
    scale = float(weights.mean()) if len(weights) else 1.0
    if not scale > 0:
        raise DataError("no event has a positive relevance, so all would weigh 0")
    return scale


def fitted(state: State, component: str) -> State:
    """The state; raises `NotFittedError` for an empty one."""
    if not state:
        raise NotFittedError(f"{component} isn't fitted; call fit(events) or restore(state) first")
    return state


def restored(component: str, state: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> State:
    """The named arrays; raises `ArtefactError` where one is missing."""
    missing = [name for name in names if name not in state]
    if missing:
        raise ArtefactError(f"this is no state of {component}: {missing} are missing, got {list(state)}")
    return {name: np.asarray(state[name]) for name in names}


def as_bytes(names: list[str]) -> NDArray[np.uint8]:
    """Texts as an array: UTF-8 of JSON."""
    return np.frombuffer(json.dumps(names).encode(), np.uint8).copy()


def as_texts(array: NDArray[np.uint8]) -> list[str]:
    """The texts that `as_bytes` stored."""
    names: list[str] = json.loads(array.tobytes())
    return names
