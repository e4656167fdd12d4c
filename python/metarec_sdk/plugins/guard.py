"""Names the plugin in every exception that one of its components raises.

The exception keeps its type; the note is what a user needs in order to write to the right address.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from metarec_sdk.plugins.records import ComponentRecord


@contextmanager
def noting(record: ComponentRecord, call: str) -> Iterator[None]:
    """Add a note with plugin, version, component and call to what is raised inside; a built-in needs none."""
    try:
        yield
    except Exception as error:
        if record.builtin:
            raise
        version = f" {record.version}" if record.version else ""
        source = f" (distribution {record.distribution})" if record.distribution else ""
        error.add_note(
            f"raised by plugin {record.plugin}{version}{source}: {record.kind} {record.name!r}, {call}"
        )
        raise


def guarded(component: Any, record: ComponentRecord) -> Any:
    """A stand-in for the component that passes everything on and adds a note to what its methods raise.

    It is of a class of its own, because a component's class may have slots, be frozen or be an extension
    type. ``isinstance`` sees the component's class.
    """
    members: dict[str, Any] = {
        name: _forwarded_method(name, record)
        if _is_method(component, name)
        else property(functools.partial(_read, name=name))
        for name in dir(component)
        if not name.startswith("_")
    }
    proxy = type(f"Guarded{type(component).__name__}", (_Guarded,), members)
    return proxy(component)


class _Guarded:
    def __init__(self, component: Any) -> None:
        object.__setattr__(self, "_component", component)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._component)

    def __getattr__(self, name: str) -> Any:  # what appears on the component after construction
        return getattr(object.__getattribute__(self, "_component"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._component, name, value)

    def __repr__(self) -> str:
        return repr(self._component)


def _is_method(component: Any, name: str) -> bool:
    found = inspect.getattr_static(component, name)  # a property must not run yet: it may need a fit first
    return callable(found) or isinstance(found, classmethod)


def _read(proxy: Any, *, name: str) -> Any:
    return getattr(proxy._component, name)


def _forwarded_method(name: str, record: ComponentRecord) -> Callable[..., Any]:
    def forwarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        with noting(record, f"{name}()"):
            return getattr(self._component, name)(*args, **kwargs)

    forwarded.__name__ = name
    return forwarded
