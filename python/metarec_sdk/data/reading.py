"""`read_interactions`: any table with any column names becomes a checked log."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import polars as pl

from metarec_sdk.data.ids import id_dtype
from metarec_sdk.data.interactions import REQUIRED, Interactions
from metarec_sdk.data.invalid_rows import InvalidRows
from metarec_sdk.data.sources import collect, column_names, is_csv, scan
from metarec_sdk.data.timestamps import TimeUnit, check_unit, to_microseconds, warn_if_implausible
from metarec_sdk.errors import ArgumentError, ColumnError, DataError, DataWarning


@dataclass(frozen=True, slots=True)
class _Roles:
    """Which column of the source plays which part."""

    user: str
    item: str
    time: str | None
    event: str | None
    value: str | None
    event_id: str | None

    def given(self) -> dict[str, str]:
        """Role -> column, for the roles that have one."""
        pairs = {"user": self.user, "item": self.item, "time": self.time, "event": self.event}
        pairs |= {"value": self.value, "event_id": self.event_id}
        return {role: column for role, column in pairs.items() if column is not None}


def read_interactions(
    source: object,
    *,
    user: str = "user_id",
    item: str = "item_id",
    time: str | None = "timestamp",
    event: str | None = None,
    value: str | None = None,
    event_id: str | None = None,
    default_event: str = "interaction",
    time_unit: TimeUnit = "s",
    on_invalid: Literal["raise", "drop"] = "raise",
) -> Interactions:
    """Read a log of events.

    Args:
        source: path to Parquet, CSV (also tab-separated or compressed) or JSON lines, with globs, or several
            paths; a polars DataFrame or LazyFrame, a pandas DataFrame, or anything with the Arrow interface.
        user: column of user ids: integers or strings.
        item: column of item ids: integers or strings.
        time: column of times: integers in ``time_unit``, dates, datetimes or ISO 8601 text; None where the
            log has no times, and the order of the rows is the order of the events.
        event: column of event types, for example view, click, cart, purchase, rating, dwell, or any name.
        value: column of numbers that go with the event: rating, seconds of dwell; null where absent.
        event_id: column that identifies the event (made text); must be unique.
        default_event: the event type where there is no ``event`` column.
        time_unit: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``, for integer times.
        on_invalid: what to do with rows that can't be used (null ids or times, NaN or infinite values, times
            beyond range, repeated event ids): ``"raise"``, or ``"drop"`` them with a DataWarning and the
            counts in `Interactions.reading`.

    Returns:
        The log, in the order of the source's rows.

    Raises:
        ColumnError: for a column that is missing, has the wrong dtype or a name that clashes.
        DataError: for rows that can't be used, an empty log, or a file that can't be read.
        ArgumentError: for a source of an unknown kind or arguments outside their range.

    Warns:
        DataWarning: where times look as if they were in another unit, or rows were dropped.
    """
    check_unit(time_unit)
    if on_invalid not in ("raise", "drop"):
        raise ArgumentError(f"on_invalid must be 'raise' or 'drop', got {on_invalid!r}")
    roles = _Roles(user, item, time, event, value, event_id)
    given = roles.given()
    if len(set(given.values())) < len(given):
        raise ArgumentError(f"each role needs a column of its own, got {given}")
    frame, extra = _load(source, given)
    if frame.height == 0:
        raise DataError("the log is empty: it has columns but no rows")

    invalid = InvalidRows()
    from_text = is_csv(source)
    columns = [
        _ids(frame[user], "user_id", invalid, from_text),
        _ids(frame[item], "item_id", invalid, from_text),
        _times(frame, roles.time, time_unit, invalid),
        _event_types(frame, roles.event, default_event, invalid),
        _values(frame, roles.value, invalid),
        pl.int_range(frame.height, dtype=pl.Int64, eager=True).rename("row"),
    ]
    if event_id is not None:
        columns.append(_event_ids(frame[event_id], invalid))
    log = pl.DataFrame(columns + [frame[name] for name in extra])

    reading = None
    if invalid.problems:
        if on_invalid == "raise":
            invalid.raise_if_any()
        reading = invalid.report(log.height)
        keep = invalid.keep_mask(log.height)
        log, frame = log.filter(keep), frame.filter(keep)
        if log.height == 0:
            raise DataError(f"no row can be used:\n{reading}")
        warnings.warn(f"rows dropped on reading: {reading}", DataWarning, stacklevel=2)
    if roles.time is not None:
        warn_if_implausible(frame[roles.time], log["timestamp"], time_unit)
    return Interactions(log, has_time=roles.time is not None, reading=reading)


def _load(source: object, given: dict[str, str]) -> tuple[pl.DataFrame, list[str]]:
    """The source's columns, those with a role first, and the names of the others.

    In CSV files only ids are read as text at first; where another column holds anything that isn't of its
    dtype, all columns with a role are, so that the rows concerned can be named.
    """
    for text_columns in ([given["user"], given["item"]], [*given.values()]):
        lazy = scan(source, text_columns)
        extra = _extra_columns(column_names(lazy, source), given)
        try:
            return collect(lazy.select(*given.values(), *extra), source), extra
        except DataError:
            if not is_csv(source) or len(text_columns) == len(given):
                raise
    raise AssertionError("unreachable")


def _extra_columns(names: list[str], given: dict[str, str]) -> list[str]:
    for role, column in given.items():
        if column not in names:
            error = ColumnError.missing(column, role, names)
            if role == "time":
                error = ColumnError(f"{error} If the log has no times, use time=None.")
            raise error
    extra = [name for name in names if name not in given.values()]
    for name in extra:
        if name in (*REQUIRED, "event_id"):
            role = {"user_id": "user", "item_id": "item", "timestamp": "time", "event_type": "event"}.get(
                name, name
            )
            use = "" if name == "row" else f"use it with {role}={name!r}, or "
            raise ColumnError(
                f"the column {name!r} of the data clashes with the log's own: {use}rename or drop it"
            )
    return extra


def _ids(ids: pl.Series, name: str, invalid: InvalidRows, from_text: bool) -> pl.Series:
    result = ids.cast(id_dtype(ids.dtype, ids.name), strict=False)
    if from_text and result.dtype == pl.String:
        result = _integers_if_canonical(result)
    invalid.add("null", ids.name, "is null", ids.is_null(), ids)
    if result.null_count() > ids.null_count():
        beyond = result.is_null() & ids.is_not_null()
        invalid.add("id_beyond_range", ids.name, "is beyond int64", beyond, ids, "Use strings for such ids.")
    if result.dtype == pl.String:
        invalid.add("empty_id", ids.name, "is an empty string", result == "", ids)
    return result.rename(name)


def _integers_if_canonical(ids: pl.Series) -> pl.Series:
    """Text ids as integers where nothing is lost by it: "007" and "7" stay two ids."""
    integers = ids.cast(pl.Int64, strict=False)
    if integers.null_count() > ids.null_count():
        return ids
    # Any other way to write an integer is longer than the plain one, so equal lengths mean equal texts.
    values = integers.drop_nulls().to_numpy()
    plain = len(values) + int((values < 0).sum())
    for power in range(1, 19):
        longer = int(((values >= 10**power) | (values <= -(10**power))).sum())
        if longer == 0:
            break
        plain += longer
    return integers if plain == ids.str.len_bytes().sum() else ids


def _times(frame: pl.DataFrame, column: str | None, unit: TimeUnit, invalid: InvalidRows) -> pl.Series:
    if column is None:
        return pl.int_range(frame.height, dtype=pl.Int64, eager=True).rename("timestamp")
    return to_microseconds(frame[column], unit, invalid).rename("timestamp")


def _event_types(frame: pl.DataFrame, column: str | None, default: str, invalid: InvalidRows) -> pl.Series:
    if column is None:
        if not default:
            raise ArgumentError("default_event must be a name, got an empty string")
        return pl.repeat(default, frame.height, dtype=pl.String, eager=True).rename("event_type")
    types = frame[column]
    if types.dtype != pl.String and not isinstance(types.dtype, pl.Categorical | pl.Enum):
        raise ColumnError(
            f"column {column!r} (given as event=) has dtype {types.dtype}; event types must be strings "
            f"such as 'view' or 'purchase'"
        )
    result = types.cast(pl.String)
    invalid.add("null", column, "is null", types.is_null(), types)
    invalid.add("empty_event_type", column, "is an empty string", result == "", types)
    return result.rename("event_type")


def _values(frame: pl.DataFrame, column: str | None, invalid: InvalidRows) -> pl.Series:
    if column is None:
        return pl.repeat(None, frame.height, dtype=pl.Float64, eager=True).rename("value")
    values = frame[column]
    numeric = values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.String, pl.Null)
    if not numeric:
        raise ColumnError(
            f"column {column!r} (given as value=) has dtype {values.dtype}; values must be numbers"
        )
    result = values.cast(pl.Float64, strict=False)
    if result.null_count() > values.null_count():
        unread = result.is_null() & values.is_not_null()
        invalid.add("value_not_a_number", column, "isn't a number", unread, values)
    invalid.add("not_finite", column, "is NaN or infinite", ~result.is_finite(), values)
    return result.rename("value")


def _event_ids(ids: pl.Series, invalid: InvalidRows) -> pl.Series:
    if not (ids.dtype.is_integer() or ids.dtype == pl.String):
        raise ColumnError(
            f"column {ids.name!r} (given as event_id=) has dtype {ids.dtype}; "
            f"event ids must be integers or strings"
        )
    result = ids.cast(pl.String)
    invalid.add("null", ids.name, "is null", ids.is_null(), ids)
    if result.n_unique() < len(result):
        again = ~result.is_first_distinct() & result.is_not_null()
        invalid.add("duplicate_event_id", ids.name, "repeats an earlier event id", again, ids)
    return result.rename("event_id")
