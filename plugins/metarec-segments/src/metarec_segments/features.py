"""What the segments ask of their input: finite features, one row a user, on a common scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, ArtefactError, DataError
from metarec_sdk.types import Float64, State


def checked(x: NDArray[Any], width: int | None = None) -> Float64:
    """x as f64[u, p], finite, with p = width where a width is given.

    Raises `ArgumentError` for another shape and `DataError` for a value that isn't finite, naming its place.
    """
    features = np.asarray(x, np.float64)
    if features.ndim != 2 or (width is not None and features.shape[1] != width):
        raise ArgumentError(f"x must be f32[u, {width or 'p'}], one row a user; got shape {features.shape}")
    if not np.isfinite(features).all():
        row, column = np.argwhere(~np.isfinite(features))[0]
        raise DataError(f"x[{row}, {column}] is {features[row, column]}; features of users must be finite")
    return features


def at_least_one(features: Float64) -> Float64:
    """The features of u ≥ 1 users; raises `ArgumentError` for none."""
    if not len(features):
        raise ArgumentError("x has no rows; segments need at least one user")
    return features


def scales(features: Float64) -> State:
    """``mean`` and ``scale`` f32[p] of the features; a constant feature keeps scale 1."""
    scale = features.std(0)
    scale[scale < 1e-6] = 1.0  # a constant feature tells nobody apart
    return {"mean": features.mean(0).astype(np.float32), "scale": scale.astype(np.float32)}


def standardised(features: Float64, state: Mapping[str, NDArray[Any]]) -> Float64:
    """f64[u, p], in standard deviations from the mean of the fit."""
    standard: Float64 = (features - state["mean"]) / state["scale"]
    return standard


def restored(component: str, state: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> State:
    """The named arrays; raises `ArtefactError` where one is missing."""
    missing = [name for name in names if name not in state]
    if missing:
        raise ArtefactError(f"this is no state of {component}: {missing} are missing, got {list(state)}")
    return {name: np.asarray(state[name]) for name in names}
