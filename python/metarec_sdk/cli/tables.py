"""Tables that are given as files beside a log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from metarec_sdk.errors import ColumnError, DataError

if TYPE_CHECKING:
    import polars as pl

    from metarec_sdk import Interactions


def read_table(path: Path, *, infer: bool = True) -> pl.DataFrame:
    """A Parquet or CSV file; without ``infer`` all columns of CSV stay text.

    Raises `DataError` for a file that isn't a table, `OSError` for one that can't be read.
    """
    import polars as pl

    content = path.read_bytes()  # a missing file is an OSError here, in every version of polars
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(content)
        return pl.read_csv(content, infer_schema=infer)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} can't be read as a table: {error}") from error


def read_entities(path: Path, key: str, log: Interactions) -> pl.DataFrame:
    """A table of items or users, its ``key`` in the dtype that the log has.

    Raises `ColumnError` where the key is missing or can't be of that dtype, and what `read_table` raises.
    """
    import polars as pl

    frame = read_table(path)
    if key not in frame.columns:
        raise ColumnError.missing(key, path.name, frame.columns)
    wanted = log.frame.schema[key]
    try:
        return frame.with_columns(pl.col(key).cast(wanted))
    except pl.exceptions.PolarsError:
        raise ColumnError(
            f"column {key!r} of {path} is {frame.schema[key]}, in the log it is {wanted}"
        ) from None
