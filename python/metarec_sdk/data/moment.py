"""A point in time in the forms that people have it in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

from metarec_sdk.errors import ArgumentError

Moment: TypeAlias = int | datetime | date
"""Microseconds since 1970 UTC, a datetime (naive means UTC) or a date (its start)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: Moment, name: str) -> int:
    """The moment in microseconds since 1970 UTC; exact.

    Raises:
        ArgumentError: for anything else, naming the argument.
    """
    if isinstance(moment, int) and not isinstance(moment, bool):
        return moment
    if not isinstance(moment, date):
        raise ArgumentError(f"{name} must be integer microseconds, a datetime or a date, got {moment!r}")
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - _EPOCH) // timedelta(microseconds=1)


def utc(moment: int) -> datetime:
    """The datetime that so many microseconds since 1970 UTC stand for; exact."""
    return _EPOCH + timedelta(microseconds=moment)
