"""Stands between the host and a plugin's component.

What the component raises keeps its type and gains a note, which is what a user needs in order to write to the
right address. What it is given is read-only, and what it returns is checked.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from metarec_sdk.errors import PluginError
from metarec_sdk.plugins.boundary import RESULTS, Result
from metarec_sdk.plugins.fallback import Failures
from metarec_sdk.plugins.read_only import content, read_only
from metarec_sdk.plugins.records import ComponentRecord


@dataclass(frozen=True, slots=True)
class Watch:
    """What the host knows of a plugin's component."""

    record: ComponentRecord
    strict: bool
    """Check everything, and let failures come through while serving."""
    failures: Failures


@contextmanager
def noting(record: ComponentRecord, call: str) -> Iterator[None]:
    """Add a note with plugin, version, component and call to what is raised inside; a built-in needs none."""
    try:
        yield
    except Exception as error:
        note(error, record, call)
        raise
    except KeyboardInterrupt:  # Ctrl-C, which is the user's and not the component's
        raise
    except BaseException as error:
        raise ended(record, call, error) from error


def ended(record: ComponentRecord, call: str, error: BaseException) -> Exception:
    """What a component's ``sys.exit()`` or other `BaseException` becomes, which must not end the host."""
    stands_in = PluginError(f"{record.name}: {call} {escape(error)}; a component raises an Exception")
    note(stands_in, record, call)
    return stands_in


def escape(error: BaseException) -> str:
    """What a plugin did that would have ended the host, for a message."""
    return "called sys.exit()" if isinstance(error, SystemExit) else f"raised {type(error).__name__}"


def note(error: BaseException, record: ComponentRecord, call: str) -> None:
    """Tell in a note of the error whose component raised it."""
    if not record.builtin:
        version = f" {record.version}" if record.version else ""
        source = f" (distribution {record.distribution})" if record.distribution else ""
        add_note(
            error, f"raised by plugin {record.plugin}{version}{source}: {record.kind} {record.name!r}, {call}"
        )


def add_note(error: BaseException, text: str) -> None:
    """Add a note, unless the plugin's exception doesn't let itself be annotated."""
    with contextlib.suppress(Exception):
        BaseException.add_note(error, text)


def guarded(component: Any, watch: Watch) -> Any:
    """A stand-in for the component that passes everything on and checks the methods of its kind.

    It is of a class of its own, because a component's class may have slots, be frozen or be an extension
    type. ``isinstance`` sees the component's class.
    """
    record = watch.record
    members: dict[str, Any] = {"_watch": watch}
    for name in dir(component):
        if name.startswith("_"):
            continue
        if not _is_method(component, name):
            members[name] = property(functools.partial(_read, name=name, record=record))
        elif (check := RESULTS.get((record.kind, name))) is not None:
            members[name] = _checked_method(name, watch, check)
        else:
            members[name] = _forwarded_method(name, record)
    proxy = type(f"Guarded{type(component).__name__}", (_Guarded,), members)
    return proxy(component)


class _Guarded:
    _watch: ClassVar[Watch]

    def __init__(self, component: Any) -> None:
        object.__setattr__(self, "_component", component)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._component)

    def __getattr__(self, name: str) -> Any:  # what appears on the component after construction
        return _read(self, name=name, record=type(self)._watch.record)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._component, name, value)

    def __repr__(self) -> str:
        return repr(self._component)


def _is_method(component: Any, name: str) -> bool:
    found = inspect.getattr_static(component, name)  # a property must not run yet: it may need a fit first
    return callable(found) or isinstance(found, classmethod | staticmethod)


def _read(proxy: Any, *, name: str, record: ComponentRecord) -> Any:
    try:
        return getattr(object.__getattribute__(proxy, "_component"), name)
    except AttributeError:  # the host asks whether something optional is there
        raise
    except Exception as error:
        note(error, record, name)
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ended(record, name, error) from error


def _forwarded_method(name: str, record: ComponentRecord) -> Callable[..., Any]:
    def forwarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(self._component, name)(*args, **kwargs)
        except Exception as error:
            note(error, record, f"{name}()")
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise ended(record, f"{name}()", error) from error

    forwarded.__name__ = name
    return forwarded


def _checked_method(name: str, watch: Watch, check: Result) -> Callable[..., Any]:
    """The method with read-only arguments and a checked result; in strict mode the arguments are compared."""
    record, strict = watch.record, watch.strict
    call = f"{name}()"

    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            before = content((args, kwargs)) if strict else None
            given = tuple(map(read_only, args))
            named = {key: read_only(value) for key, value in kwargs.items()} if kwargs else kwargs
            result = getattr(self._component, name)(*given, **named)
            check(self._component, given or tuple(named.values()), result, strict)
            if before is not None and content((args, kwargs)) != before:
                raise _changed(record, call)
            return result
        except Exception as error:
            note(error, record, call)
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise ended(record, call, error) from error

    checked.__name__ = name
    return checked


def _changed(record: ComponentRecord, call: str) -> Exception:
    return PluginError(f"{record.name}: {call} changed its arguments; copy an array before changing it")


def unguarded(component: Any) -> Any:
    """The component itself, as the plugin made it."""
    return component._component if isinstance(vars(type(component)).get("_watch"), Watch) else component
