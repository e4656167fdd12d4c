"""What commands print: tables for people, JSON for programs, frames for files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from metarec_sdk.errors import ArgumentError

if TYPE_CHECKING:
    import polars as pl

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

FORMATS = (".parquet", ".csv", ".jsonl", ".json")


def show(*what: RenderableType) -> None:
    """Print tables and text to standard output: as wide as the terminal, and unbroken in a pipe."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    for part in what:
        console.print(Text(part) if isinstance(part, str) else part, soft_wrap=isinstance(part, str))


def show_json(value: Any) -> None:
    """Print JSON; what JSON doesn't have (NaN, dates, NumPy numbers) becomes null or text."""
    typer.echo(json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False))


def fields(title: str, rows: dict[str, Any]) -> Table:
    """A table of names and values."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(Text(name), Text(cell(value)))
    return table


def frame_table(frame: pl.DataFrame, title: str | None = None) -> Table:
    """A frame as a table; numbers to the right."""
    table = Table(title=title, title_justify="left")
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left")
    for row in frame.iter_rows():
        table.add_row(*(Text(cell(value)) for value in row))
    return table


def cell(value: Any) -> str:
    """A value as text for people."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value)) or "–"
    return str(value)


def check_format(path: Path) -> None:
    """Raise `ArgumentError` unless `write_frame` can write to a file of that name."""
    if path.suffix not in FORMATS:
        raise ArgumentError(f"--out {str(path)!r} should end in one of {', '.join(FORMATS)}")


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame in the format that the name's ending says.

    Raises `ArgumentError` for another ending.
    """
    check_format(path)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    elif path.suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        path.write_text(json.dumps(plain(frame.to_dicts()), ensure_ascii=False, indent=2))


def plain(value: Any) -> Any:
    """The value as JSON-able data."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if hasattr(value, "tolist"):  # NumPy arrays and numbers
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
