"""Times as int64 microseconds since 1970 UTC, never through a float."""

from __future__ import annotations

import warnings
from typing import Literal, TypeAlias, get_args

import polars as pl

from metarec_sdk.data.invalid_rows import InvalidRows
from metarec_sdk.data.moment import utc
from metarec_sdk.errors import ArgumentError, ColumnError, DataWarning

TimeUnit: TypeAlias = Literal["s", "ms", "us", "ns"]

_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}  # microseconds; ns divides by 1,000 instead
FIRST = -62_135_596_800_000_000
"""0001-01-01 in microseconds, the earliest time that is accepted."""
LAST = 253_402_300_799_999_999
"""The last microsecond of the year 9999, the latest time that is accepted."""

_PLAUSIBLE = (631_152_000_000_000, 4_102_444_800_000_000)  # 1990-01-01 … 2100-01-01
_EXACT_FLOAT = 2**53  # above it float64 skips integers


def check_unit(unit: str) -> None:
    """Raise ArgumentError unless the unit is s, ms, us or ns."""
    if unit not in get_args(TimeUnit):
        raise ArgumentError(f"time_unit must be one of {list(get_args(TimeUnit))}, got {unit!r}")


def to_microseconds(times: pl.Series, unit: TimeUnit, invalid: InvalidRows) -> pl.Series:
    """Int64 microseconds; rows that can't be converted are noted in ``invalid`` and null in the result.

    Integers, whole floats below 2⁵³ and text holding integers are in ``unit``; dates, datetimes (naive ones
    are UTC) and ISO 8601 text carry their own.

    Raises:
        ColumnError: for a dtype that can't hold a time.
    """
    column = times.name
    invalid.add("null", column, "is null", times.is_null(), times, "If the log has no times, use time=None.")
    if times.dtype == pl.String:
        return _from_text(times, unit, invalid)
    if times.dtype in (pl.Date, pl.Datetime):
        result = times.cast(pl.Datetime("us")).cast(pl.Int64)
        _note_outside(times, (result < FIRST) | (result > LAST), invalid)
        return result
    if times.dtype.is_float():
        times = _from_float(times, invalid)
    if not times.dtype.is_integer():
        raise ColumnError(
            f"column {column!r} (given as time=) has dtype {times.dtype}; times must be integers, datetimes "
            f"or dates. If the log has no times, use time=None"
        )
    return _from_integers(times, unit, invalid)


def _from_integers(times: pl.Series, unit: TimeUnit, invalid: InvalidRows) -> pl.Series:
    integers = times.cast(pl.Int64, strict=False)
    if unit == "ns":
        outside = integers.is_null() & times.is_not_null()
        result = integers // 1_000
    else:
        factor = _PER_UNIT[unit]
        # Compared before multiplying: the product of a time beyond range would wrap round.
        beyond = (integers < -(-FIRST // factor)) | (integers > LAST // factor)
        outside = beyond.fill_null(False) | (integers.is_null() & times.is_not_null())
        if outside.any():
            integers = integers.set(outside, None)
        result = integers * factor
    _note_outside(times, outside, invalid, unit)
    return result


def _from_float(times: pl.Series, invalid: InvalidRows) -> pl.Series:
    if times.dtype != pl.Float64:
        raise ColumnError(
            f"column {times.name!r} (given as time=) has dtype {times.dtype}, which can't hold times "
            f"exactly; read it as integers"
        )
    exact = times.is_finite() & (times.abs() < _EXACT_FLOAT) & (times == times.round(0))
    remedy = "Give integers in a finer unit, for example microseconds with time_unit='us'."
    invalid.add("time_not_whole", times.name, "isn't a whole number below 2^53", ~exact, times, remedy)
    return times.set(~exact, None).cast(pl.Int64, strict=False)


def _from_text(times: pl.Series, unit: TimeUnit, invalid: InvalidRows) -> pl.Series:
    """Whichever reading makes sense of most rows: integers, whole floats, ISO 8601."""
    integers, floats = times.cast(pl.Int64, strict=False), times.cast(pl.Float64, strict=False)
    if integers.null_count() == times.null_count():
        return _from_integers(integers, unit, invalid)
    try:
        parsed = times.str.to_datetime(time_unit="us", time_zone="UTC", strict=False).cast(pl.Int64)
    except pl.exceptions.PolarsError:  # no row looks like a date
        parsed = integers.clear(len(times))
    if parsed.null_count() < floats.null_count():
        _note_unparsed(times, parsed, "isn't an ISO 8601 time such as 2024-05-01T12:30:00", invalid)
        return parsed
    _note_unparsed(times, floats, f"isn't a whole number of {unit}", invalid)
    # Only where there is a point: an integer of nanoseconds wouldn't survive the float.
    whole = _from_float(floats.set(integers.is_not_null(), None), invalid)
    return _from_integers(integers.fill_null(whole), unit, invalid)


def _note_unparsed(times: pl.Series, parsed: pl.Series, reason: str, invalid: InvalidRows) -> None:
    invalid.add("time_not_read", times.name, reason, parsed.is_null() & times.is_not_null(), times)


def _note_outside(
    times: pl.Series, outside: pl.Series, invalid: InvalidRows, unit: TimeUnit | None = None
) -> None:
    if not outside.any():
        return
    remedy = ""
    if unit is not None:
        dates = dates_by_unit(times.filter(outside).cast(pl.Int64, strict=False).drop_nulls())
        remedy = f"Their median would be {dates}; set time_unit= accordingly." if dates else ""
    invalid.add("time_beyond_range", times.name, "is beyond the years 1 … 9999", outside, times, remedy)


def dates_by_unit(times: pl.Series) -> str:
    """The date of the median under each unit that makes sense of it; '' where none does."""
    if len(times) == 0:
        return ""
    middle = int(times.sort()[len(times) // 2])
    dates = []
    for unit in get_args(TimeUnit):
        microseconds = middle // 1_000 if unit == "ns" else middle * _PER_UNIT[unit]
        if _PLAUSIBLE[0] <= microseconds < _PLAUSIBLE[1]:
            dates.append(f"{utc(microseconds):%Y-%m-%d} in {unit!r}")
    return ", ".join(dates)


def warn_if_implausible(times: pl.Series, microseconds: pl.Series, unit: TimeUnit) -> None:
    """Warn where most events would lie before 1990 or after 2100, with the dates under other units."""
    if len(microseconds) == 0 or microseconds.null_count():
        return
    sample = microseconds.gather_every(1 + len(microseconds) // 10_000).sort()
    middle = sample[len(sample) // 2]
    if _PLAUSIBLE[0] <= middle < _PLAUSIBLE[1]:
        return
    ordered = microseconds.sort()
    first, last = utc(ordered[0]), utc(ordered[-1])
    raw = times.cast(pl.Int64, strict=False).drop_nulls() if not times.dtype.is_temporal() else times.head(0)
    dates = dates_by_unit(raw)
    hint = (
        f"the median would be {dates}; set time_unit= accordingly"
        if dates
        else "no unit makes them lie between 1990 and 2100; if they are positions, not times, use time=None"
    )
    warnings.warn(
        f"column {times.name!r} read in {unit!r} means {first:%Y-%m-%d} … {last:%Y-%m-%d}, which looks "
        f"wrong: {hint}",
        DataWarning,
        stacklevel=3,
    )
