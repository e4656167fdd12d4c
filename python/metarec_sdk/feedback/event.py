"""One event as the log stores it, and the check that every event passes before it is accepted."""

from __future__ import annotations

import json
import math
import operator
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metarec_sdk.errors import ArgumentError, DataError

MAX_ID_LENGTH = 512
"""Characters in an id (of event, user, item, request, generation)."""
MAX_TYPE_LENGTH = 128
"""Characters in an event type."""
MAX_SHOWN_BYTES = 65_536
"""Bytes of the JSON of what was shown."""
MAX_BATCH = 1_000_000
"""Events in one append."""
MAX_TIMESTAMP = 253_402_300_799_999_999
"""The last microsecond of the year 9999."""
MAX_POSITION = 2**31 - 1

INTEGER_RANGE = (-(2**63), 2**63 - 1)


def new_event_id() -> str:
    """A fresh random id, for events whose source gives none."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Event:
    """Something a user did, with what is needed to judge it later without bias."""

    user_id: int | str
    item_id: int | str
    event_type: str = "click"
    value: float | None = None
    """Rating, dwell in seconds, price …; finite."""
    timestamp: int | None = None
    """Microseconds since 1970 UTC, 0 … end of the year 9999. None: the log's clock when it is appended; a
    redelivery with None is not compared by time."""
    event_id: str = field(default_factory=new_event_id)
    """Unique in the log. Appending the same object again is a redelivery, acknowledged without a copy."""
    request_id: str | None = None
    """The request that showed the item."""
    position: int | None = None
    """Place in the shown list, from 0."""
    propensity: float | None = None
    """Probability, in (0, 1], with which the policy showed this item at this place."""
    generation: str | None = None
    """The generation that answered the request."""
    shown: Any = None
    """Everything that was shown, as JSON-able data of at most 64 KiB."""


class EventRow(NamedTuple):
    """An event that passed `check_events`, in the order of the log's columns."""

    event_id: str
    user_id: int | str
    item_id: int | str
    timestamp: int | None
    event_type: str
    value: float | None
    request_id: str | None
    position: int | None
    propensity: float | None
    generation: str | None
    shown: str | None


def check_events(events: Sequence[Event]) -> list[EventRow]:
    """The events as rows; the first one that can't be stored fails the whole batch.

    Raises:
        DataError: naming the event's place in the batch, the field, what was got and what was wanted.
        ArgumentError: more than `MAX_BATCH` events.
    """
    if len(events) > MAX_BATCH:
        raise ArgumentError(
            f"an append takes at most {MAX_BATCH:,} events, got {len(events):,}; append in parts"
        )
    rows = []
    for place, event in enumerate(events):
        try:
            rows.append(_row(event))
        except ValueError as error:
            raise DataError(f"event {place} of the batch: {error}; nothing of the batch was stored") from None
    return rows


def check_id(name: str, value: object) -> int | str:
    """An int64 or a short, storable string; numpy scalars become plain ones.

    Raises:
        DataError: the value is something else.
    """
    if isinstance(value, str):
        return _text(name, value, MAX_ID_LENGTH)
    return _integer(name, value, *INTEGER_RANGE, wanted="an integer or a string")


def _row(event: Event) -> EventRow:
    if not isinstance(event, Event):
        raise DataError(f"is a {type(event).__name__}, wanted metarec_sdk.feedback.Event")
    return EventRow(
        _text("event_id", event.event_id, MAX_ID_LENGTH),
        check_id("user_id", event.user_id),
        check_id("item_id", event.item_id),
        None if event.timestamp is None else _timestamp(event.timestamp),
        _text("event_type", event.event_type, MAX_TYPE_LENGTH),
        None if event.value is None else _real("value", event.value),
        None if event.request_id is None else _text("request_id", event.request_id, MAX_ID_LENGTH),
        None if event.position is None else _integer("position", event.position, 0, MAX_POSITION),
        None if event.propensity is None else _propensity(event.propensity),
        None if event.generation is None else _text("generation", event.generation, MAX_ID_LENGTH),
        None if event.shown is None else _json("shown", event.shown),
    )


def _text(name: str, value: object, longest: int) -> str:
    if not isinstance(value, str):
        raise DataError(f"{name} is {_show(value)}, wanted a string")
    if not value:
        raise DataError(f"{name} is empty, wanted at least one character")
    if len(value) > longest:
        raise DataError(f"{name} has {len(value):,} characters, at most {longest} are allowed")
    if "\0" in value:
        raise DataError(f"{name} holds a NUL character: {_show(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DataError(f"{name} is no valid Unicode (a lone surrogate): {_show(value)}") from None
    return str(value)


def _integer(name: str, value: object, low: int, high: int, wanted: str = "an integer") -> int:
    # A bool is an int in Python, but as an id or position it is a mistake.
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise DataError(f"{name} is {_show(value)}, wanted {wanted}")
    number = operator.index(value)
    if not low <= number <= high:
        raise DataError(f"{name} is {_show(number)}, wanted {low} to {high}")
    return number


def _timestamp(value: object) -> int:
    try:
        return _integer("timestamp", value, 0, MAX_TIMESTAMP)
    except DataError as error:
        raise DataError(f"{error} (microseconds since 1970 UTC)") from None


def _real(name: str, value: object) -> float:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise DataError(f"{name} is {_show(value)}, wanted a number or None")
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{name} is {_show(value)}, wanted a finite number or None")
    return number


def _propensity(value: object) -> float:
    number = _real("propensity", value)
    if not 0 < number <= 1:
        raise DataError(f"propensity is {number}, wanted a probability in (0, 1] or None")
    return number


def _json(name: str, value: object) -> str:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{name} can't be stored as JSON: {error}") from None
    if size > MAX_SHOWN_BYTES:
        raise DataError(f"{name} takes {size:,} bytes as JSON, at most {MAX_SHOWN_BYTES:,} are allowed")
    return text


def _show(value: object) -> str:
    # Hostile values may be megabytes long, or ints too long for str().
    try:
        text = ascii(value)
    except (ValueError, RecursionError):
        return f"too large to print ({type(value).__name__})"
    return text if len(text) <= 80 else f"{text[:77]}..."
