"""What every clusterer asks of its input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, DataError
from metarec_sdk.types import Float32


def checked_features(x: NDArray[Any], width: int | None = None) -> Float32:
    """x as f32[u, p], finite, with p = width where a width is given.

    Raises `ArgumentError` for another shape and `DataError` for a NaN or an infinity, naming its place.
    """
    features = np.ascontiguousarray(x, np.float32)
    if features.ndim != 2 or (width is not None and features.shape[1] != width):
        wanted = "p" if width is None else width
        raise ArgumentError(f"x must be f32[u, {wanted}], one row a user; got shape {features.shape}")
    if not np.isfinite(features).all():
        row, column = np.argwhere(~np.isfinite(features))[0]
        raise DataError(
            f"x[{row}, {column}] is {features[row, column]}; features of users must be finite: fill what is "
            f"missing (0 is the mean after standardising)"
        )
    return features
