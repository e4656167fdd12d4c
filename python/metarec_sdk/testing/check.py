"""What a check is, and the table of all checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from metarec_sdk.plugins.kinds import KINDS

if TYPE_CHECKING:
    from metarec_sdk.testing.subject import Subject


class Level(IntEnum):
    """How far a component gets; a level is reached when every check up to it passes."""

    NONE = 0
    LOADS = 1
    """It can be installed beside anything without harm, found and built."""
    CONFORMS = 2
    """It keeps the contract of its kind, also at the edges."""
    SERVES = 3
    """A recommender that uses it fits, answers, is saved, loaded and updated."""

    def __str__(self) -> str:
        return self.name.lower()


class Skip(Exception):
    """Raised by a check that doesn't apply; the text says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. It raises `AssertionError`, or whatever the component raises, where it fails."""

    name: str
    level: Level
    kinds: frozenset[str]
    """The kinds of component that it applies to."""
    summary: str
    """What holds where it passes."""
    run: Callable[[Subject], None]


CHECKS: dict[str, Check] = {}
"""Every check by name."""

ALL = tuple(KINDS)


def check(
    level: Level, *kinds: str, but: tuple[str, ...] = ()
) -> Callable[[Callable[[Subject], None]], None]:
    """Enter the function in `CHECKS` under its name with hyphens; its docstring says what holds.

    ``kinds``: what it applies to, all kinds if none is named; ``but``: all kinds but these.
    """

    def enter(function: Callable[[Subject], None]) -> None:
        name = function.__name__.strip("_").replace("_", "-")
        chosen = frozenset(kinds or ALL) - set(but)
        summary = (function.__doc__ or "").strip().partition("\n")[0]
        assert name not in CHECKS, name
        CHECKS[name] = Check(name, level, chosen, summary, function)

    return enter


def checks_of(kind: str) -> list[Check]:
    """The checks that apply to a kind of component, in the order in which they run: level by level."""
    of_kind = [each for each in CHECKS.values() if kind in each.kinds]
    return sorted(of_kind, key=lambda each: each.level)
