"""Refusals of the Rust core, as the package's own error type."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from metarec_sdk.errors import ArgumentError


@contextmanager
def native_errors() -> Iterator[None]:
    """Turn a `ValueError` of the core into an `ArgumentError` with the same sentence."""
    try:
        yield
    except ArgumentError:
        raise
    except ValueError as error:
        raise ArgumentError(str(error)) from error
