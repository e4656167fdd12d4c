"""Hashes that say whether two reports measured the same thing."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from metarec_sdk.data import Interactions

SCHEMA = 1
"""Version of what the protocols mean; raised when the same parameters would cut a log differently."""

_ROWS = 1_000_000
"""Rows that are turned into text at a time."""


def data_fingerprint(log: Interactions) -> str:
    """SHA-256 over users, items, times and event types in the order of time, in hexadecimal.

    It does not depend on the order of the frame's rows, nor on columns that a protocol doesn't look at.
    """
    digest = hashlib.sha256(b"time" if log.has_time else b"order")
    frame = log.in_order().select("user_id", "item_id", "timestamp", "event_type")
    digest.update(str([str(dtype) for dtype in frame.dtypes]).encode())
    for start in range(0, frame.height, _ROWS):
        digest.update(frame[start : start + _ROWS].write_csv(include_header=False).encode())
    return digest.hexdigest()


def protocol_hash(name: str, parameters: dict[str, Any], log: Interactions) -> str:
    """SHA-256 of the canonical JSON of a protocol's name and parameters, the data and `SCHEMA`."""
    content = {
        "schema": SCHEMA,
        "protocol": name,
        "parameters": parameters,
        "data": data_fingerprint(log),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
