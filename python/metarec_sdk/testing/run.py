"""`run_checks`: every check of one component, here or in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from metarec_sdk.errors import ColumnError, UnknownIdError
from metarec_sdk.plugins import KINDS
from metarec_sdk.plugins.kinds import kind_named
from metarec_sdk.testing import by_kind, conforming, loading, of_items, serving  # noqa: F401 - enter checks
from metarec_sdk.testing.check import Check, Level, Skip, checks_of
from metarec_sdk.testing.isolation import Limits, isolated_results
from metarec_sdk.testing.report import Outcome, Report, Result, expected
from metarec_sdk.testing.subject import Plugins, Subject


def run_checks(
    component: str,
    *,
    kind: str | None = None,
    plugins: Plugins = (),
    params: Mapping[str, Any] | None = None,
    level: Level = Level.SERVES,
    expected_failures: Mapping[str, str] | Iterable[str] = (),
    isolated: bool | None = None,
    limits: Limits | None = None,
) -> Report:
    """Run the checks of a component's kind, print their counts, and report. `Stability: provisional`.

    Args:
        component: its name, ``plugin/name``, or a bare name for a built-in.
        kind: its kind; needed only where the name is registered under several.
        plugins: as for `metarec_sdk.Recommender`, where the plugin isn't installed.
        params: keyword arguments that it is built with.
        level: the highest level to check.
        expected_failures: names of checks that are known to fail, with reasons if it is a mapping. One that
            passes, and one that doesn't exist, is a problem.
        isolated: run in a process of its own, with limits of time and memory, so that not even a crash or
            an endless loop does harm; by default where every plugin is given by name or file.
        limits: of that process.

    Raises:
        UnknownIdError: no plugin registers a component of that name, or several kinds do.
    """
    subject = Subject(kind or "", component, plugins=plugins, params=params)
    apart = subject.importable if isolated is None else isolated
    wanted = kind_named(kind).name if kind is not None else None
    if apart:
        of_kind, results = isolated_results(subject, wanted, level, limits or Limits())
        subject.kind = of_kind
    else:
        subject.kind = wanted or kind_of(subject)
        results = [run_one(each, subject) for each in checks_of(subject.kind) if each.level <= level]
    report = Report(component, subject.kind, tuple(results), expected(expected_failures))
    print(report)
    return report


def kind_of(subject: Subject) -> str:
    """The only kind under which the name is registered; `UnknownIdError` otherwise."""
    kinds = [record.kind for record in subject.manager.components() if record.name == subject.name]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise UnknownIdError(f"{subject.name!r} is registered as {' and '.join(kinds)}; pass kind=")
    records = [record for record in subject.manager.records if record.name == subject.plugin]
    why = f": plugin {records[0].provider} is {records[0].status}: {records[0].error}" if records else ""
    names = sorted({record.name for record in subject.manager.components() if not record.builtin})
    raise UnknownIdError(f"no plugin registers {subject.name!r}; there are {names}{why}")


def run_one(check: Check, subject: Subject) -> Result:
    """Run one check here; a failure is a result."""
    started = time.perf_counter()
    outcome, message = Outcome.PASSED, ""
    try:
        check.run(subject)
    except Skip as reason:
        outcome, message = Outcome.SKIPPED, str(reason)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also a SystemExit of the plugin's
        outcome, message = Outcome.FAILED, _text(error, subject.name)
    return Result(check.name, check.level, outcome, message, time.perf_counter() - started)


def _text(error: BaseException, component: str) -> str:
    first = str(error).strip().partition("\n")[0]
    if isinstance(error, AssertionError) and first:
        return first
    hint = (
        f" The checks have tables of their own: let a parameter name one of these columns, --param "
        f"{component}.NAME=COLUMN on the command line, params= of run_checks and of a test class."
        if isinstance(error, ColumnError)
        else ""
    )
    return f"{type(error).__name__}: {error}{hint}"


__all__ = ["KINDS", "checks_of", "kind_of", "run_checks", "run_one"]
