"""Contents of the items' table: one text or one file an item."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from metarec_sdk.errors import ColumnError, DataError
from metarec_sdk.types import Float32


def nothing_but_ids(items: pl.DataFrame) -> bool:
    """Whether the user gave no table, so that a column that was asked for can't be there."""
    return items.columns == ["item_id"]


def texts(items: pl.DataFrame, columns: Sequence[str] | None) -> list[str | None]:
    """The texts of each of the n items in one, None where it has none.

    ``columns`` are those to take, in this order; by default every one of texts or lists of texts. Raises
    `ColumnError` for a column that is missing or of another dtype.
    """
    if nothing_but_ids(items):
        return [None] * items.height
    chosen = columns
    if chosen is None:
        chosen = [name for name in items.columns if name != "item_id" and _is_text(items.schema[name])]
    parts = []
    for name in chosen:
        if name not in items.columns:
            raise ColumnError.missing(name, "columns", items.columns)
        if not _is_text(items.schema[name]):
            raise ColumnError(f"column {name!r} is {items.schema[name]}, wanted texts or lists of texts")
        part = pl.col(name)
        parts.append(part.list.join(" ", ignore_nulls=True) if items.schema[name] == pl.List else part)
    if not parts:
        return [None] * items.height
    joined = items.select(pl.concat_str(parts, separator=". ", ignore_nulls=True).str.strip_chars())
    return [text or None for text in joined.to_series().to_list()]


def files(items: pl.DataFrame, column: str, root: str) -> list[bytes | None]:
    """The n contents of a column of bytes, or of paths under ``root``; None where null.

    Raises `ColumnError` for a missing column or another dtype, and `DataError` for a file that can't be read.
    """
    if nothing_but_ids(items):
        return [None] * items.height
    if column not in items.columns:
        raise ColumnError.missing(column, "column", items.columns)
    values = items[column]
    if values.dtype not in (pl.Binary, pl.String, pl.Null):
        raise ColumnError(f"column {column!r} is {values.dtype}, wanted paths (text) or contents (bytes)")
    found: list[bytes | None] = []
    for row, value in enumerate(values):
        if isinstance(value, str):
            path = Path(root).expanduser() / value
            try:
                value = path.read_bytes()
            except OSError as error:
                raise DataError(
                    f"{place(items, row)}: column {column!r} names {path}, which can't be read "
                    f"({error.strerror}); correct the path or root=, or set it to null"
                ) from None
        found.append(value)
    return found


def place(items: pl.DataFrame, row: int) -> str:
    """How an error names a row."""
    return f"row {row}, item {items['item_id'][row]!r}"


def of_one_scale(vectors: Float32) -> Float32:
    """f32[n, c], rows of length √c, so that an entry is about as large as a standardised number; 0 stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = vectors / np.where(length > 0, length, 1.0) * np.sqrt(vectors.shape[1])
    return np.ascontiguousarray(scaled, np.float32)


def _is_text(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.List(pl.String))
