"""A user's mistake ends in one paragraph and an exit code, not in a traceback."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from metarec_sdk.errors import (
    ArtefactError,
    ConflictError,
    DataWarning,
    MetarecError,
    MissingDependencyError,
    PluginError,
    StorageError,
)

ARGUMENTS, STORAGE, PLUGIN, INTERRUPTED = 2, 3, 4, 130
DEBUG_VARIABLE = "METAREC_DEBUG"

_NOT_THERE = FileNotFoundError | IsADirectoryError | NotADirectoryError
"""What a mistyped path raises."""


def exit_code(error: BaseException) -> int | None:
    """The exit code of an error, or None where it is a defect and its traceback should be seen."""
    if isinstance(error, PluginError | MissingDependencyError):
        return PLUGIN
    if isinstance(error, ArtefactError | StorageError | ConflictError):
        return STORAGE
    if isinstance(error, MetarecError | _NOT_THERE):
        return ARGUMENTS
    return STORAGE if isinstance(error, OSError) else None


def message(error: BaseException) -> str:
    """The error as one paragraph, with the notes that name a plugin."""
    if isinstance(error, OSError) and not isinstance(error, MetarecError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = str(error) or type(error).__name__
    return " ".join([text, *(f"({note})" for note in getattr(error, "__notes__", ()))])


class CommandGroup(TyperGroup):
    """Commands whose users' mistakes are told in one paragraph on standard error."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, and turn what it raises into a message and an exit code."""
        try:
            with _plain_warnings():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            Console(stderr=True).print("Interrupted.")
            raise typer.Exit(INTERRUPTED) from None
        except (MetarecError, OSError) as error:
            code = exit_code(error)
            if code is None or _debugging() or (isinstance(error, OSError) and error.errno == errno.EPIPE):
                raise
            tell("Error", message(error), "red")
            raise typer.Exit(code) from None


def tell(kind: str, text: str, style: str) -> None:
    """One labelled paragraph on standard error."""
    Console(stderr=True, soft_wrap=True).print(Text.assemble((f"{kind}: ", f"bold {style}"), text))


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show a `DataWarning` as a sentence, without file and line of the library."""
    shown = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, DataWarning):
            tell("Warning", str(message), "yellow")
        else:
            shown(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


def _debugging() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


def broken_pipe() -> None:
    """Let the process end quietly when the reader of its output has gone, as ``| head`` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
