"""What came of the checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from metarec_sdk.errors import PluginError
from metarec_sdk.testing.check import CHECKS, Level

NAMED = 3
"""Checks that a line names where one message comes from many."""


class Outcome(StrEnum):
    """What came of one check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It doesn't apply to this component."""
    NOT_RUN = "not run"
    """The process ended before."""


@dataclass(frozen=True, slots=True)
class Result:
    """One check of one component."""

    check: str
    level: Level
    outcome: Outcome
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """All checks of one component."""

    component: str
    kind: str
    results: tuple[Result, ...]
    expected_failures: Mapping[str, str] = field(default_factory=dict)
    """Check -> why it is known to fail."""

    @property
    def level(self) -> Level:
        """The level that is reached: all checks up to it pass or don't apply. Expected failures count."""
        reached = Level.NONE
        for level in (Level.LOADS, Level.CONFORMS, Level.SERVES):
            of_level = [result for result in self.results if result.level is level]
            good = (Outcome.PASSED, Outcome.SKIPPED)
            if not of_level or any(result.outcome not in good for result in of_level):
                break
            reached = level
        return reached

    @property
    def counts(self) -> dict[str, int]:
        """Checks by outcome, and all."""
        found = {str(outcome): len(self._with(outcome)) for outcome in Outcome}
        return {"checks": len(self.results), **found}

    @property
    def problems(self) -> list[str]:
        """Whatever isn't as expected, one line each; empty where all is well."""
        lines = []
        for result in self.results:
            if result.outcome in (Outcome.FAILED, Outcome.NOT_RUN):
                if result.check not in self.expected_failures:
                    lines.append(f"{result.check}: {result.message or result.outcome}")
            elif result.check in self.expected_failures:
                lines.append(f"{result.check} is expected to fail and {result.outcome}; take it off the list")
        known = {result.check for result in self.results}
        for name in self.expected_failures:
            if name not in known:
                where = f"no check of a {self.kind}" if name in CHECKS else "no check"
                lines.append(f"{name} is expected to fail but is {where}")
        return lines

    @property
    def ok(self) -> bool:
        """Whether all is as expected."""
        return not self.problems

    def raise_for_problems(self) -> None:
        """Raise `PluginError` that lists the problems, if there are any."""
        if self.problems:
            raise PluginError(f"{self.component}: " + "; ".join(self._grouped()))

    def summary(self) -> str:
        """One line with the level and every count."""
        counts = self.counts
        ran = counts["passed"] + counts["failed"]
        return (
            f"{self.kind} {self.component}: {self.level}; {counts['checks']} checks, {ran} ran, "
            f"{counts['passed']} passed, {counts['failed']} failed "
            f"({len(self.expected_failures)} expected), {counts['skipped']} skipped, "
            f"{counts['not run']} not run"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {
            "component": self.component,
            "kind": self.kind,
            "level": str(self.level),
            "ok": self.ok,
            "counts": self.counts,
            "problems": self.problems,
            "results": [
                {**asdict(result), "level": str(result.level), "outcome": str(result.outcome)}
                for result in self.results
            ],
        }

    def __str__(self) -> str:
        return "\n".join([self.summary(), *(f"  {problem}" for problem in self._grouped())])

    def _grouped(self) -> list[str]:
        """The problems, those of more than one check with the same message in one line."""
        groups: dict[str, list[str]] = {}
        for problem in self.problems:
            name, colon, message = problem.partition(": ")
            groups.setdefault(message if colon else problem, []).append(name)
        return [_line(names, message) for message, names in groups.items()]

    def _with(self, outcome: Outcome) -> list[Result]:
        return [result for result in self.results if result.outcome is outcome]


def _line(names: list[str], message: str) -> str:
    if names == [message]:  # a sentence of its own
        return message
    first = ", ".join(names[:NAMED])
    if len(names) > NAMED:
        return f"{len(names)} checks ({first}, …): {message}"
    return f"{first}: {message}"


def expected(failures: Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    """Expected failures as check -> reason."""
    if isinstance(failures, Mapping):
        return dict(failures)
    return dict.fromkeys(failures, "")
