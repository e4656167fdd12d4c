"""Whatever holds a log, as a polars frame: files, polars, pandas, Arrow."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import polars as pl

from metarec_sdk.errors import ArgumentError, ColumnError, DataError, MissingDependencyError

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv"}
_FORMATS |= {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
_COMPRESSED = (".gz", ".zst", ".zlib")

_INFER_ROWS = 10_000
"""Rows that polars looks at to find the dtypes of the columns that have no role."""


def scan(source: object, text_columns: Collection[str] = ()) -> pl.LazyFrame:
    """A lazy frame over the source: a path (globs work) or several, or a polars, pandas or Arrow table.

    In CSV files ``text_columns`` are read as text, so that ids keep leading zeros and times never pass
    through a float.

    Raises:
        DataError: where no file matches, or a file can't be read in the format that its name says.
        ArgumentError: for a source of another type or an unknown file ending.
        MissingDependencyError: where a pandas frame needs pyarrow and it isn't installed.
    """
    if isinstance(source, pl.LazyFrame):
        return source
    if isinstance(source, pl.DataFrame):
        return source.lazy()
    if isinstance(source, str | PathLike):
        return _scan_files([Path(fspath(source))], text_columns)
    if isinstance(source, Sequence) and source and all(isinstance(one, str | PathLike) for one in source):
        return _scan_files([Path(fspath(one)) for one in source], text_columns)
    if type(source).__module__.partition(".")[0] == "pandas":
        return _from_pandas(source).lazy()
    if hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__"):
        return _from_arrow(source).lazy()
    raise ArgumentError(
        f"source must be a path (or several) to Parquet, CSV or JSON lines, or a polars, pandas or Arrow "
        f"table; got {type(source).__module__}.{type(source).__qualname__}"
    )


def is_csv(source: object) -> bool:
    """Whether the source is one or several CSV files, whose dtypes are a guess."""
    paths = source if isinstance(source, list | tuple) else [source]
    return all(
        isinstance(one, str | PathLike) and _FORMATS.get(_bare_suffix(Path(fspath(one)))) == "csv"
        for one in paths
    )


def collect(frame: pl.LazyFrame, source: object) -> pl.DataFrame:
    """The frame in memory.

    Raises:
        DataError: where a file is damaged or a row doesn't have the form of the others.
    """
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise _unreadable(source, error) from error


def column_names(frame: pl.LazyFrame, source: object) -> list[str]:
    """The columns of a source, without reading its rows."""
    try:
        return frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise _unreadable(source, error) from error


def _scan_files(paths: Sequence[Path], text_columns: Collection[str]) -> pl.LazyFrame:
    files = [found for path in paths for found in _matches(path)]
    formats = {_format(path) for path in files}
    if len(formats) > 1:
        raise ArgumentError(f"the files must be of one format, got {sorted(formats)}")
    file_format = formats.pop()
    try:
        if file_format == "parquet":
            return pl.scan_parquet(files)
        if file_format == "jsonl":
            return pl.scan_ndjson(files, infer_schema_length=_INFER_ROWS)
        separator = _SEPARATORS[_bare_suffix(files[0])]
        header = pl.scan_csv(files[0], separator=separator, infer_schema_length=0).collect_schema().names()
        text = {name: pl.String for name in text_columns if name in header}
        return pl.scan_csv(
            files,
            separator=separator,
            schema_overrides=text,
            infer_schema_length=_INFER_ROWS,
        )
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise _unreadable(files[0], error) from error


def _matches(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        raise DataError(f"{path} is a folder; give a file or a pattern such as {path}/*.parquet")
    pattern = str(path)
    if any(sign in pattern for sign in "*?["):
        anchor = Path(path.anchor) if path.anchor else Path()
        found = sorted(one for one in anchor.glob(str(path.relative_to(path.anchor))) if one.is_file())
        if found:
            return found
        raise DataError(f"no file matches {pattern!r}")
    raise DataError(f"there is no file {pattern!r} (the working directory is {Path.cwd()})")


def _bare_suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _format(path: Path) -> str:
    suffix = _bare_suffix(path)
    if suffix not in _FORMATS:
        raise ArgumentError(
            f"can't tell the format of {str(path)!r} from its ending {suffix!r}; known endings are "
            f"{sorted(_FORMATS)}; or read it yourself and give the frame"
        )
    return _FORMATS[suffix]


def _from_pandas(frame: Any) -> pl.DataFrame:
    if type(frame).__name__ != "DataFrame":
        raise ArgumentError(f"source must be a DataFrame, got a pandas {type(frame).__name__}")
    names = [str(column) for column in frame.columns]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ColumnError(f"the pandas frame has columns {twice} more than once; rename them")
    try:
        return pl.from_pandas(frame)
    except ImportError as error:
        raise MissingDependencyError.extra("pyarrow", "pandas", "reading this pandas frame") from error
    except Exception as error:  # pyarrow raises its own types, which may not be importable here
        raise DataError(
            f"the pandas frame can't be converted, most likely a column of mixed types: {str(error)[:300]}"
        ) from error


def _from_arrow(table: Any) -> pl.DataFrame:
    try:
        frame = pl.DataFrame(table)
    except Exception as error:  # the producer of the table may raise anything
        raise DataError(f"the Arrow table can't be converted: {str(error)[:300]}") from error
    return frame


def _unreadable(source: object, error: Exception) -> DataError:
    name = str(source) if isinstance(source, str | PathLike) else type(source).__name__
    first_lines = "\n".join(str(error).splitlines()[:3])
    return DataError(
        f"can't read {name}: {first_lines}\nCheck that the file is whole and its rows have the same columns."
    )
