"""Read-only views of what is handed to plugins, and its bytes for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_only(value: Any) -> Any:
    """The value with read-only views of its arrays, however deep in dataclasses and tuples. No copy.

    A dataclass without an array to protect comes back itself.
    """
    if isinstance(value, np.ndarray):
        return _locked(value) if value.flags.writeable else value
    kind = type(value)
    if kind is tuple:
        return tuple(map(read_only, value))
    names = field_names(kind)  # type: ignore[arg-type]
    if not names:
        return value
    # Not `replace`: it would check again what the host has checked, which costs more than all the views.
    twin, same = object.__new__(kind), True
    for name in names:
        part = getattr(value, name)
        if type(part) is not np.ndarray:
            view = read_only(part)
            same = same and view is part
        elif part.flags.writeable:
            view, same = _locked(part), False
        else:
            view = part
        object.__setattr__(twin, name, view)
    return value if same else twin


def _locked(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.setflags(write=False)
    return view


@cache
def field_names(kind: type) -> tuple[str, ...]:
    """Fields of a dataclass; none of any other class."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


def content(value: Any) -> Any:
    """The bytes of all arrays and frames in the value, however deep, for comparison with ``==``."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if is_dataclass(value) and not isinstance(value, type):
        return [content(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, list | tuple):
        return [content(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): content(part) for key, part in value.items()}
    if hasattr(value, "hash_rows"):  # a polars frame
        return value.columns, value.height, value.hash_rows().to_list()
    return None
