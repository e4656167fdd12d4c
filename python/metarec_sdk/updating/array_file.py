"""Named arrays as a safetensors file, checked on the way in and out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArtefactError, DataError
from metarec_sdk.types import State

DTYPES = tuple(
    np.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64"),
    )
)


def arrays_to_bytes(component: str, state: Mapping[str, Any]) -> bytes:
    """The arrays of one component as safetensors, the same bytes for equal arrays.

    Raises:
        DataError: an array isn't a NumPy one of a plain dtype, or holds NaN or infinity.
    """
    from safetensors.numpy import save

    arrays = {}
    for name, array in state.items():
        if not isinstance(name, str) or not name or name == "__metadata__":
            raise DataError(f"{component}: {name!r} is no name for an array")
        if isinstance(array, np.generic):
            array = np.asarray(array)
        if not isinstance(array, np.ndarray) or array.dtype.newbyteorder("=") not in DTYPES:
            kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise DataError(f"{component}: {name!r} is {kind}, wanted a NumPy array of bool, int or float")
        if not is_finite(array):
            raise DataError(f"{component}: {name!r} holds NaN or infinity; a generation must be finite")
        # Not ascontiguousarray, which would give a 0-d array a dimension.
        arrays[name] = np.require(array, array.dtype.newbyteorder("="), "C")
    return save(arrays)


def arrays_from_bytes(path: str, raw: bytes) -> State:
    """The arrays; safetensors checks header, shapes and offsets.

    Raises:
        ArtefactError: the file is damaged, has a dtype that isn't allowed, or holds NaN or infinity.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(raw)
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        raise ArtefactError(f"{path} is no valid safetensors file: {error!r}") from error
    for name, array in arrays.items():
        if array.dtype not in DTYPES:
            raise ArtefactError(f"{path}: {name!r} is {array.dtype}, which isn't allowed")
        if not is_finite(array):
            raise ArtefactError(f"{path}: {name!r} holds NaN or infinity")
    return arrays


def is_finite(array: NDArray[Any]) -> bool:
    """Whether every element is finite."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
