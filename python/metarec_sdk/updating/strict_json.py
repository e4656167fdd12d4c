"""JSON that comes back as it went in: no NaN, no keys that aren't strings, nothing that isn't JSON."""

from __future__ import annotations

import json
import math
from typing import Any

from metarec_sdk.errors import DataError

MAX_DEPTH = 64


def dump_json(value: Any, name: str, indent: int | None = None) -> bytes:
    """UTF-8 bytes, the same for equal values. A tuple becomes a list.

    Raises:
        DataError: a part of it isn't JSON; the message gives its place.
    """
    _check(value, name, 0)
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, sort_keys=True, indent=indent)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{name} holds text that is no valid Unicode (a lone surrogate)") from None


def load_json(raw: bytes) -> Any:
    """The value.

    Raises:
        ValueError: it is no JSON, holds NaN or infinity, a key twice, or is nested too deeply.
    """
    try:
        return json.loads(raw.decode(), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _check(value: Any, place: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise DataError(f"{place} is nested more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, (str, bool)) or type(value) is int:
        return
    if type(value) is float:
        if not math.isfinite(value):
            raise DataError(f"{place} is {value}, which JSON can't hold; give a finite number or None")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise DataError(f"{place} has the key {key!r}, wanted strings as keys")
            _check(item, f"{place}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check(item, f"{place}[{index}]", depth + 1)
    else:
        raise DataError(
            f"{place} is a {type(value).__name__}, wanted str, int, float, bool, None, list or dict"
        )
