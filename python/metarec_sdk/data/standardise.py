"""Features on one scale, in the order of a vocabulary; and values on one scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_sdk.data.interactions import Interactions
from metarec_sdk.data.vocabulary import UNKNOWN, Vocabulary
from metarec_sdk.errors import ArgumentError, ColumnError
from metarec_sdk.types import Float32

HEAVY_TAILED = ("events", "dwell", "recency", "frequency")
"""Features whose logarithm log(1 + x) is taken first: a few heavy users would set the scale otherwise."""

_BOUND = 5.0
"""Standardised features are clipped to ± this many standard deviations."""


@dataclass(frozen=True, slots=True)
class StandardFeatures:
    """A matrix for clusterers and backbones, with what is needed to treat later users alike."""

    matrix: Float32
    """f32[u, p]; row i is the user with index i; 0 is the mean, and stands for "not known"."""
    names: tuple[str, ...]
    """p names."""
    mean: NDArray[np.float64]
    """f64[p], of the features (after the logarithm of the heavy-tailed ones)."""
    scale: NDArray[np.float64]
    """f64[p], standard deviations; 1 where a feature doesn't vary."""


def standardise(
    features: pl.DataFrame, users: Vocabulary, *, like: StandardFeatures | None = None
) -> StandardFeatures:
    """Mean 0 and standard deviation 1 for each feature, row by row in the order of the vocabulary.

    Args:
        features: ``user_id`` and numeric columns, as `behaviour_features` makes; other columns are refused.
        users: the rows of the result; users without features get 0, and rows of unknown users are left out.
        like: take names, mean and scale from here instead, for users that came later.

    Raises:
        ColumnError: where ``user_id`` is missing, a column isn't numeric or a name of ``like`` is missing.
        ArgumentError: where a user has two rows, or a feature is infinite.
    """
    if "user_id" not in features.columns:
        raise ColumnError.missing("user_id", "features", features.columns)
    names = tuple(name for name in features.columns if name != "user_id") if like is None else like.names
    for name in names:
        if name not in features.columns:
            raise ColumnError.missing(name, "features", features.columns)
        if not (features.schema[name].is_numeric() or features.schema[name] == pl.Boolean):
            raise ColumnError(f"feature {name!r} has dtype {features.schema[name]}; features must be numbers")
    if features["user_id"].n_unique() != features.height:
        raise ArgumentError("features must have one row a user; aggregate them first")
    index = users.encode(features["user_id"])  # [rows]
    known = features.filter(pl.Series(index != UNKNOWN)).select(names)
    values = np.full((len(users), len(names)), np.nan)  # [u, p]
    rows = index[index != UNKNOWN]
    for column, name in enumerate(names):
        raw = known[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        if np.isinf(raw).any():
            raise ArgumentError(f"feature {name!r} holds infinite values")
        values[rows, column] = np.log1p(np.maximum(raw, 0)) if name in HEAVY_TAILED else raw
    mean, scale = (_moments(values)) if like is None else (like.mean, like.scale)
    scaled = np.clip((values - mean) / scale, -_BOUND, _BOUND)
    return StandardFeatures(np.nan_to_num(scaled, nan=0.0).astype(np.float32), names, mean, scale)


def _moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each column over what isn't NaN; 0 and 1 where nothing is known."""
    known = ~np.isnan(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    spread = np.sqrt(np.where(known, (values - mean) ** 2, 0.0).sum(axis=0) / count)
    return mean, np.where(spread > 1e-12, spread, 1.0)


def normalise_values(
    log: Interactions,
    how: Literal["centre", "zscore", "minmax"],
    *,
    by: Literal["event_type", "user_id", "item_id"] = "event_type",
) -> Interactions:
    """The log with its values on one scale within each event type, user or item; nulls stay null.

    ``centre`` takes the group's mean away; ``zscore`` divides by its standard deviation too; ``minmax`` maps
    its range to 0 … 1. A group whose values are all equal becomes 0.

    Raises:
        ArgumentError: for another ``how`` or ``by``.
    """
    if by not in ("event_type", "user_id", "item_id"):
        raise ArgumentError(f"by must be 'event_type', 'user_id' or 'item_id', got {by!r}")
    value = pl.col("value")
    centred = value - value.mean().over(by)
    if how == "centre":
        return log.replaced(log.frame.with_columns(value=centred))
    if how == "zscore":
        shifted, spread = centred, value.std(ddof=0).over(by)
    elif how == "minmax":
        shifted, spread = value - value.min().over(by), (value.max() - value.min()).over(by)
    else:
        raise ArgumentError(f"how must be 'centre', 'zscore' or 'minmax', got {how!r}")
    scaled = pl.when(spread > 1e-12).then(shifted / spread).when(value.is_not_null()).then(0.0)
    return log.replaced(log.frame.with_columns(value=scaled))
