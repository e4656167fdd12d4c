"""polars frames as Parquet bytes."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from metarec_sdk.errors import ArtefactError, DataError

if TYPE_CHECKING:
    import polars as pl


def frame_to_bytes(name: str, frame: pl.DataFrame) -> bytes:
    """The frame as zstd-compressed Parquet.

    Raises:
        DataError: it is no polars frame, or has a column of Python objects.
    """
    import polars as pl

    if not isinstance(frame, pl.DataFrame):
        raise DataError(f"frame {name!r} is a {type(frame).__name__}, wanted a polars DataFrame")
    for column, dtype in frame.schema.items():
        if dtype == pl.Object:
            raise DataError(f"frame {name!r}: column {column!r} holds Python objects; cast it first")
    buffer = BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def frame_from_bytes(path: str, raw: bytes) -> pl.DataFrame:
    """The frame.

    Raises:
        ArtefactError: it is no valid Parquet.
    """
    import polars as pl

    try:
        return pl.read_parquet(BytesIO(raw))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, OSError) as error:
        raise ArtefactError(f"{path} is no valid Parquet file: {error}") from error
