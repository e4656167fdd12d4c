"""What torch asks of an `autograd.Function` at every call, answered once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class _Bound(inspect.BoundArguments):
    """Every argument, given by position."""

    _positional: tuple[Any, ...]

    @property
    def args(self) -> tuple[Any, ...]:
        """As given."""
        return self._positional

    @property
    def kwargs(self) -> dict[str, Any]:
        """None."""
        return {}

    def apply_defaults(self) -> None:
        """There is nothing to fill in."""


class _Positional(inspect.Signature):
    """A signature of positional parameters, to which a full list of arguments is bound as it is."""

    def bind(self, /, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
        """As that of `inspect.Signature`."""
        if kwargs or len(args) != len(self.parameters):
            return super().bind(*args, **kwargs)
        bound = _Bound(self, dict(zip(self.parameters, args)))
        bound._positional = args
        return bound


def known_signature(forward: Callable[P, T]) -> Callable[P, T]:
    """The same function, with its signature kept, of which binding costs little: `Function.apply` binds its
    arguments to ``inspect.signature(forward)`` where there is a ``setup_context``, and making that signature
    or walking through its parameters takes as long as a product of small matrices."""
    forward.__signature__ = _Positional(inspect.signature(forward).parameters.values())  # type: ignore
    return forward
