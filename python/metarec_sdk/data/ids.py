"""External ids: integers or strings, nothing else, and never silently converted into each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from metarec_sdk.errors import ColumnError, DataError


def id_dtype(dtype: pl.DataType, name: str) -> pl.DataType:
    """The canonical dtype (Int64 or String) of an id column of the given dtype.

    Raises:
        ColumnError: for any dtype that isn't an integer, a string or a categorical.
    """
    if dtype.is_integer():
        return pl.Int64()
    if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    if dtype == pl.Null:
        raise DataError(f"column {name!r} holds only nulls; ids must be integers or strings")
    remedy = (
        f"cast it to integers or strings first, e.g. frame.with_columns(pl.col({name!r}).cast(pl.Int64))"
        if dtype.is_float()
        else "cast it to integers or strings first"
    )
    why = " (pandas turns integers with gaps into floats)" if dtype.is_float() else ""
    raise ColumnError(f"column {name!r} has dtype {dtype}; ids must be integers or strings{why}; {remedy}")


def id_series(ids: pl.Series | Iterable[Any], name: str = "id") -> pl.Series:
    """Ids as an Int64 or String series without nulls; an empty collection gives an empty Int64 series.

    Raises:
        DataError: where an id is null, beyond int64, or ids are integers and strings mixed.
        ColumnError: where ids are floats, booleans, dates or the like.
    """
    if isinstance(ids, str | bytes):
        raise DataError(
            f"{name} must be a collection of ids, got the single value {ids!r}; wrap it: [{ids!r}]"
        )
    if not isinstance(ids, pl.Series):
        ids = _series_of(ids, name)
    if len(ids) == 0:
        return pl.Series(name, [], ids.dtype if ids.dtype in (pl.Int64, pl.String) else pl.Int64)
    dtype = id_dtype(ids.dtype, name)
    nulls = ids.null_count()
    if nulls:
        first = ids.is_null().arg_true()[0]
        raise DataError(f"{name} holds {nulls} null(s), the first at position {first}; ids can't be null")
    series = ids.rename(name).cast(dtype, strict=False)
    if series.null_count():
        first = series.is_null().arg_true()[0]
        raise DataError(
            f"{name} holds {ids[first]} at position {first}, beyond int64; use strings for such ids"
        )
    return series


def _series_of(ids: Iterable[Any], name: str) -> pl.Series:
    values = ids if hasattr(ids, "__array__") else list(ids)
    try:
        return pl.Series(name, values, strict=True)
    except (TypeError, OverflowError, UnicodeError, ValueError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{name} must be all integers (int64) or all strings (valid Unicode): {str(error)[:200]}"
        ) from error
