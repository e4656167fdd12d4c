"""Read-only views of what is handed to plugins, and its bytes for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np


def read_only(value: Any) -> Any:
    """The value with read-only views of its arrays, however deep in dataclasses and tuples. No copy."""
    if isinstance(value, np.ndarray):
        if not value.flags.writeable:
            return value
        view = value.view()
        view.flags.writeable = False
        return view
    if type(value) is tuple:
        return tuple(read_only(part) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        changed = {name: read_only(part) for name, part in own.items()}
        if any(changed[name] is not own[name] for name in own):
            return replace(value, **changed)
    return value


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
