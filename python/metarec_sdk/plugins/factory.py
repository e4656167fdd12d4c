"""Builds a component from its record, and checks it against the protocol of its kind."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from metarec_sdk.errors import ArgumentError, MissingDependencyError, PluginError
from metarec_sdk.plugins.guard import Watch, guarded, noting
from metarec_sdk.plugins.kinds import KINDS, members
from metarec_sdk.plugins.records import ComponentRecord

EXTRAS = {
    "torch": "torch",
    "triton": "torch",
    "matplotlib": "report",
    "pandas": "pandas",
    "pyarrow": "pandas",
}
"""Optional packages, each with the extra of metarec-sdk that brings it."""


def build(watch: Watch, params: Mapping[str, Any]) -> Any:
    """An instance of the component.

    Raises `ArgumentError` for a parameter that it doesn't take, `PluginError` if the target can't be found
    or the instance breaks the protocol, `MissingDependencyError` if it needs an extra. What a plugin raises
    keeps its type and gains a note.
    """
    record = watch.record
    factory = resolve(record)
    _check_parameters(record, factory, params)
    with noting(record, "construction"):
        component = factory(**params)
    _check_protocol(record, component)
    if record.builtin:
        return component
    with noting(record, "construction"):
        return guarded(component, watch)


def parameters(record: ComponentRecord) -> list[str]:
    """Names of the keyword arguments that the component takes; empty where they can't be told."""
    try:
        signature = inspect.signature(resolve(record))
    except (TypeError, ValueError):  # an extension type may have none
        return []
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, parameter in signature.parameters.items() if parameter.kind in named]


def resolve(record: ComponentRecord) -> Any:
    """The class or function behind the record, imported if need be.

    Raises what the import raises, and `PluginError` if the module doesn't have it.
    """
    if not isinstance(record.target, str):
        return record.target
    module, _, attribute = record.target.partition(":")
    try:
        with noting(record, f"import of {record.target}"):
            found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name in EXTRAS:
            raise MissingDependencyError.extra(error.name, EXTRAS[error.name], f"{record.name!r}") from error
        raise
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise PluginError(
                f"{_described(record)} should be at {record.target!r}, but {module!r} has no {attribute!r}"
            ) from None
    return found


def _check_parameters(record: ComponentRecord, factory: Any, params: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # an extension type may have none; then its own error must do
        return
    try:
        signature.bind(**params)
    except TypeError as error:
        taken = [
            name
            for name, parameter in signature.parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
        unknown = [name for name in params if name not in taken]
        close = get_close_matches(unknown[0], taken, n=1) if unknown else []
        hint = f" Did you mean {close[0]!r}?" if close else ""
        label = KINDS[record.kind].label
        raise ArgumentError(f"{label} {record.name!r}: {error}; it takes {taken}.{hint}") from None


def _check_protocol(record: ComponentRecord, component: Any) -> None:
    protocol = KINDS[record.kind].protocol
    missing = lacking(protocol, component)
    if missing:
        raise PluginError(
            f"{_described(record)} gave a {type(component).__name__} without {', '.join(missing)}; "
            f"it has to follow metarec_sdk.protocols.{protocol.__name__}"
        )
    flat = [
        name
        for name in members(protocol)
        if inspect.isfunction(getattr(protocol, name, None)) and not callable(getattr(component, name))
    ]
    if flat:
        raise PluginError(
            f"{_described(record)}: {', '.join(flat)} must be methods of {type(component).__name__}"
        )


def lacking(protocol: type, component: Any) -> list[str]:
    """Members of the protocol that the component doesn't have."""
    return [name for name in members(protocol) if not _has(component, name)]


def _has(component: Any, name: str) -> bool:
    try:
        getattr(component, name)
    except AttributeError:
        return False
    except KeyboardInterrupt:
        raise
    except BaseException:  # a property that needs a fit first is there all the same
        return True
    return True


def _described(record: ComponentRecord) -> str:
    where = record.distribution or record.plugin
    return f"{KINDS[record.kind].label} {record.name!r} of plugin {where} {record.version or ''}".rstrip()
