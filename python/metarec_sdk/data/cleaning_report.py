"""What was taken out of a log, rule by rule, with examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLES = 5
"""Rows shown for each rule."""


@dataclass(frozen=True, slots=True)
class RuleCount:
    """One rule and what it took out."""

    rule: str
    """Short name, for example ``duplicates``."""
    reason: str
    """What is wrong with the rows, in words."""
    rows: int
    """Rows taken out by this rule (a row counts for the first rule that meets it)."""
    examples: tuple[dict[str, Any], ...] = ()
    """The first rows, each as ``row`` (number in the source, from 0) and the columns that matter."""

    @classmethod
    def of(cls, rule: str, reason: str, removed: pl.DataFrame, *columns: str) -> RuleCount:
        """The count for the removed rows; examples show ``row`` and the given columns."""
        shown = removed.sort("row").head(EXAMPLES).select("row", *dict.fromkeys(columns))
        return cls(rule, reason, removed.height, tuple(shown.to_dicts()))


@dataclass(frozen=True, slots=True)
class CleaningReport:
    """The rules that ran, in order; printable with rich, and JSON-able through `to_dict`."""

    rows_before: int
    rows_after: int
    rules: tuple[RuleCount, ...]

    @property
    def rows_removed(self) -> int:
        """Rows taken out by all rules together."""
        return self.rows_before - self.rows_after

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists."""
        return {
            "rows_before": self.rows_before,
            "rows_after": self.rows_after,
            "rules": [
                {"rule": r.rule, "reason": r.reason, "rows": r.rows, "examples": [*map(_plain, r.examples)]}
                for r in self.rules
            ],
        }

    def __str__(self) -> str:
        lines = [f"{self.rows_removed} of {self.rows_before} rows removed, {self.rows_after} left"]
        for rule in self.rules:
            lines.append(f"  {rule.rule}: {rule.rows} rows ({rule.reason}){_shown(rule.examples)}")
        return "\n".join(lines)

    def __rich__(self) -> Table:
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=f"{self.rows_removed} of {self.rows_before} rows removed, {self.rows_after} left")
        for heading, justify in (
            ("rule", "left"),
            ("rows", "right"),
            ("reason", "left"),
            ("examples", "left"),
        ):
            table.add_column(heading, justify=justify)  # type: ignore[arg-type]
        for rule in self.rules:
            examples = "\n".join(_line(example) for example in rule.examples)
            table.add_row(rule.rule, f"{rule.rows:,}", escape(rule.reason), escape(examples))
        return table


def _line(example: dict[str, Any]) -> str:
    rest = ", ".join(f"{name}={value!r}" for name, value in example.items() if name != "row")
    return f"row {example['row']}" + (f": {rest}" if rest else "")


def _shown(examples: tuple[dict[str, Any], ...]) -> str:
    return "".join(f"\n    {_line(example)}" for example in examples)


def _plain(example: dict[str, Any]) -> dict[str, Any]:
    plain = (int, str, bool, type(None))
    # NaN and infinities aren't JSON: they are written as text, like any other odd value.
    return {k: v if isinstance(v, plain) or _finite(v) else str(v) for k, v in example.items()}


def _finite(value: object) -> bool:
    return isinstance(value, float) and abs(value) < float("inf")
