"""Turning what callers pass into the exact arrays that the core takes, without a copy where it fits."""

from __future__ import annotations

import operator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import Bool, Histories, Int32, Int64

Scalar = TypeVar("Scalar", bound=np.generic)


def as_array(name: str, value: ArrayLike, dtype: type[Scalar], dimensions: int) -> NDArray[Scalar]:
    """A C-contiguous array of the dtype; integers are never rounded or wrapped.

    Raises:
        ArgumentError: For another number of dimensions, or values that the dtype can't hold.
    """
    array = _plain(name, value)
    fits = array.dtype == dtype and array.ndim == dimensions
    if fits and array.flags.c_contiguous and array.flags.aligned:
        return array
    if array.ndim != dimensions:
        raise ArgumentError(f"{name} must have {dimensions} dimension(s), got shape {array.shape}")
    target = np.dtype(dtype)
    kinds = "bui" if target.kind == "i" else "buif"
    if array.size and array.dtype.kind not in kinds:
        raise ArgumentError(f"{name} must hold {target} numbers, got dtype {array.dtype}")
    if target.kind == "i" and array.size and not np.can_cast(array.dtype, target, "safe"):
        bounds = np.iinfo(target)  # type: ignore[arg-type,unused-ignore]
        if array.min() < bounds.min or array.max() > bounds.max:
            raise ArgumentError(f"{name} must hold {target} numbers, got {array.min()} to {array.max()}")
    with np.errstate(over="ignore"):  # a float64 beyond f32 becomes infinity, which the core refuses by row
        return np.require(array, dtype=dtype, requirements=["C", "A"])


def as_mask(name: str, value: ArrayLike, n_items: int) -> Bool:
    """bool[n] from a mask or from item indices.

    Raises:
        ArgumentError: For a mask of another length, or an index out of range.
    """
    array = _plain(name, value)
    if array.dtype == np.bool_ and array.ndim == 1:
        if len(array) != n_items:
            raise ArgumentError(f"{name} is a mask of {len(array)} items, the index has {n_items}")
        return np.require(array, requirements=["C", "A"])
    indices = as_array(name, array, np.int64, 1)
    outside = (indices < 0) | (indices >= n_items)
    if outside.any():
        position = int(outside.argmax())
        raise ArgumentError(
            f"{name} has item {indices[position]} at position {position}, expected 0 to below {n_items}"
        )
    mask = np.zeros(n_items, np.bool_)
    mask[indices] = True
    return mask


def as_rows(name: str, value: Histories | tuple[ArrayLike, ArrayLike]) -> tuple[Int64, Int32]:
    """(offsets i64[b + 1], items i32[e]) from histories or such a pair."""
    if isinstance(value, Histories):
        pair: tuple[ArrayLike, ArrayLike] = (value.offsets, value.items)
    elif isinstance(value, tuple) and len(value) == 2:
        pair = value
    else:
        raise ArgumentError(
            f"{name} must be Histories or a tuple (offsets i64[b + 1], items i32[e]), "
            f"got {type(value).__name__}"
        )
    offsets = as_array(f"{name} offsets", pair[0], np.int64, 1)
    return offsets, as_array(f"{name} items", pair[1], np.int32, 1)


def bounded(name: str, value: int, least: int, most: int) -> int:
    """A whole number within its bounds."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ArgumentError(f"{name} must be a whole number, got {value!r}") from None
    if not least <= number <= most:
        raise ArgumentError(f"{name} must be from {least} to {most}, got {number}")
    return number


def _plain(name: str, value: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} can't be read as an array: {error}") from None
