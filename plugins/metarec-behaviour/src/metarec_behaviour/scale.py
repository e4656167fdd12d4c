"""Features on one scale: that of the people of the fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArtefactError, NotFittedError
from metarec_sdk.types import Float32, Float64, State

_BOUND = 5.0


def scales(raw: Float64) -> State:
    """``mean`` and ``scale`` f64[p] over what isn't NaN of raw f64[u, p]; scale 1 for what doesn't vary."""
    known = ~np.isnan(raw)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, raw, 0.0).sum(0) / count
    spread = np.sqrt(np.where(known, np.square(raw - mean), 0.0).sum(0) / count)
    return {"mean": mean, "scale": np.where(spread > 1e-9, spread, 1.0)}


def scaled(raw: Float64, state: Mapping[str, NDArray[Any]]) -> Float32:
    """f32[u, p], deviations from the mean of the fit, clipped to ± 5; 0 for NaN."""
    deviations = np.clip((raw - state["mean"]) / state["scale"], -_BOUND, _BOUND)
    result: Float32 = np.nan_to_num(deviations, nan=0.0).astype(np.float32)
    return result


def fitted(state: State, component: str) -> State:
    """The state; raises `NotFittedError` for an empty one."""
    if not state:
        raise NotFittedError(f"{component} isn't fitted; call fit(events, rng) or restore(state) first")
    return state


def restored(component: str, state: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> State:
    """Copies of the named arrays and of ``aspects``; raises `ArtefactError` where one is missing."""
    wanted = ("aspects", "mean", "scale", *names)
    missing = [name for name in wanted if name not in state]
    if missing:
        raise ArtefactError(f"this is no state of {component}: {missing} are missing, got {list(state)}")
    return {name: np.array(state[name]) for name in wanted}
