"""Read-only views of what is handed to plugins, and its bytes for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np


def read_only(value: Any) -> Any:
    """The value with read-only views of its arrays, however deep in dataclasses and tuples. No copy."""
    if isinstance(value, np.ndarray):
        if not value.flags.writeable:
            return value
        view = value.view()
        view.setflags(write=False)
        return view
    if type(value) is tuple:
        return tuple(read_only(part) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        own = [(name, getattr(value, name)) for name in names(type(value))]
        views = [read_only(part) for _, part in own]
        if all(view is part for view, (_, part) in zip(views, own)):
            return value
        # Not `replace`: it would check again what the host has checked, which costs more than all the views.
        twin = object.__new__(type(value))
        for (name, _), view in zip(own, views):
            object.__setattr__(twin, name, view)
        return twin
    return value


@cache
def names(kind: type) -> tuple[str, ...]:
    """Fields of a dataclass."""
    return tuple(field.name for field in fields(kind))


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
