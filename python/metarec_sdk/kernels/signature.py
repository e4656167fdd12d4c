"""What torch asks of an `autograd.Function` at every call, answered once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def known_signature(forward: Callable[P, T]) -> Callable[P, T]:
    """The same function, with its signature kept: `Function.apply` binds its arguments to
    ``inspect.signature(forward)`` where there is a ``setup_context``, and making that takes longer than a
    product of small matrices."""
    forward.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    return forward
