"""Ids on the command line are text; a model's ids may be integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarec_sdk.cli.tables import read_table
from metarec_sdk.errors import ArgumentError, ColumnError

if TYPE_CHECKING:
    import polars as pl


def converted(texts: Iterable[str], known: Sequence[Any] | pl.Series, option: str) -> list[Any]:
    """The ids as integers where the known ids are integers, else as they are.

    Raises `ArgumentError` that names the option, where an integer is needed and the text isn't one.
    """
    texts = list(texts)
    if len(known) == 0 or isinstance(known[0], str):
        return texts
    ids: list[int] = []
    for text in texts:
        try:
            ids.append(int(text))
        except ValueError:
            raise ArgumentError(
                f"{option} {text!r}: the ids of this model are integers, such as {known[0]}"
            ) from None
    return ids


def split_list(text: str) -> list[str]:
    """``"i1,i2"`` as ids; empty for an empty text."""
    return [part.strip() for part in text.split(",") if part.strip()]


def read_ids(path: Path, column: str, known: Sequence[Any] | pl.Series, option: str) -> list[Any]:
    """Ids from a column of a Parquet or CSV file, or one a line from any other file.

    Raises `ColumnError` for a missing column, `ArgumentError` for an id of another dtype and `OSError` for a
    file that can't be read.
    """
    if path.suffix not in (".parquet", ".csv"):
        lines = path.read_text(encoding="utf-8").splitlines()
        return converted((line.strip() for line in lines if line.strip()), known, option)
    import polars as pl

    frame = read_table(path, infer=False)
    if column not in frame.columns:
        raise ColumnError.missing(column, "--users-column", frame.columns)
    return converted(frame[column].drop_nulls().cast(pl.String), known, option)
