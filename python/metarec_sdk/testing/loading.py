"""Checks of the level *loads*: found, built, and without harm to what is beside it."""

from __future__ import annotations

import inspect
import json

from metarec_sdk.errors import ArgumentError
from metarec_sdk.plugins import Status
from metarec_sdk.plugins.factory import lacking, resolve
from metarec_sdk.testing.check import Level, Skip, check
from metarec_sdk.testing.importing import LIMIT
from metarec_sdk.testing.subject import Subject

LOADS = Level.LOADS
UNKNOWN = "no_such_parameter"


@check(LOADS)
def loads_alone(subject: Subject) -> None:
    """A fresh interpreter loads the plugin."""
    found = subject.imported
    assert found.status == Status.LOADED, f"it is {found.status}: {found.error}"


@check(LOADS)
def import_is_quick(subject: Subject) -> None:
    """Loading the plugin takes at most 50 ms beside what metarec_sdk imports anyway."""
    seconds = subject.imported.seconds
    assert seconds <= LIMIT, (
        f"it takes {seconds * 1e3:.0f} ms; register targets as 'module:attribute', "
        "so that they are imported only when selected"
    )


@check(LOADS)
def import_without_torch(subject: Subject) -> None:
    """Loading the plugin doesn't import torch."""
    assert not subject.imported.torch, "import torch inside the component's module, not in the plugin's"


@check(LOADS)
def import_is_quiet(subject: Subject) -> None:
    """Loading the plugin prints nothing."""
    assert not subject.imported.printed.strip(), f"it printed {subject.imported.printed.strip()[:200]!r}"


@check(LOADS)
def import_changes_nothing(subject: Subject) -> None:
    """Loading the plugin leaves the process as it was: environment, random state, signals, other modules."""
    assert not subject.imported.changed, f"it changed {'; '.join(subject.imported.changed)}"


@check(LOADS)
def plugin_loads(subject: Subject) -> None:
    """The plugin's hooks and registrations are in order."""
    record = subject.plugin_record
    assert record.status is Status.LOADED, f"it is {record.status}: {record.error}"


@check(LOADS)
def component_found(subject: Subject) -> None:
    """The component is registered under its kind and name."""
    assert subject.record.name == subject.name


@check(LOADS)
def summary_given(subject: Subject) -> None:
    """The registration gives a summary of one line."""
    assert subject.record.summary.strip(), 'register(..., summary="what it is, in a few words")'


@check(LOADS)
def documented(subject: Subject) -> None:
    """The component has a docstring."""
    assert (inspect.getdoc(resolve(subject.record)) or "").strip(), "say in a docstring what it does"


@check(LOADS)
def parameters_have_defaults(subject: Subject) -> None:
    """The component can be built without a parameter."""
    subject.manager.create(subject.kind, subject.name)


@check(LOADS)
def parameters_are_plain(subject: Subject) -> None:
    """Default values of parameters are JSON, so that an artefact can record them."""
    for name, parameter in _parameters(subject).items():
        if parameter.default is not parameter.empty:
            try:
                json.dumps(parameter.default, allow_nan=False)
            except (TypeError, ValueError):
                raise AssertionError(f"{name}={parameter.default!r} isn't JSON") from None


@check(LOADS)
def unknown_parameter_refused(subject: Subject) -> None:
    """A parameter that doesn't exist is refused, so that a typing mistake is noticed."""
    try:
        subject.manager.create(subject.kind, subject.name, {UNKNOWN: 1})
    except ArgumentError:
        return
    raise AssertionError("it takes any keyword argument; name the ones that it has")


@check(LOADS)
def protocol_followed(subject: Subject) -> None:
    """The component has every member of the protocol of its kind."""
    missing = lacking(subject.protocol, subject.new())
    assert not missing, f"it lacks {', '.join(missing)} of {subject.protocol.__name__}"


def _parameters(subject: Subject) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(resolve(subject.record)).parameters)
    except (TypeError, ValueError):
        raise Skip("its signature can't be read") from None
