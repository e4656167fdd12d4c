"""Rows that can't be used: named in an error, or left out and counted."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from metarec_sdk.data.cleaning_report import EXAMPLES, CleaningReport, RuleCount
from metarec_sdk.errors import DataError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with some rows of a column."""

    rule: str
    """Short name, for example ``null``."""
    column: str
    """The column of the source."""
    reason: str
    """Completes "column 'x' …", for example "is null"."""
    mask: pl.Series
    """Boolean, true for the bad rows."""
    values: pl.Series
    """The column as it came, for the examples."""
    remedy: str = ""
    """What to do about it, beyond repairing or dropping the rows."""

    def bad(self) -> pl.DataFrame:
        """``row`` and the value of every bad row."""
        shown = self.values.rename("value_in_source").to_frame().with_row_index("row").filter(self.mask)
        return shown.with_columns(pl.col("row").cast(pl.Int64)).rename({"value_in_source": self.column})


@dataclass(slots=True)
class InvalidRows:
    """Collects problems, and then either raises or drops."""

    problems: list[Problem] = field(default_factory=list)

    def add(
        self, rule: str, column: str, reason: str, mask: pl.Series, values: pl.Series, remedy: str = ""
    ) -> None:
        """Note the rows where the mask is true (null counts as false); none is fine."""
        mask = mask.fill_null(False)
        if mask.any():
            self.problems.append(Problem(rule, column, reason, mask, values, remedy))

    def raise_if_any(self) -> None:
        """One error that names each problem with its column, count and first rows."""
        if not self.problems:
            return
        lines = []
        for problem in self.problems:
            bad = problem.bad().head(EXAMPLES)
            examples = ", ".join(f"{row} ({_short(value)})" for row, value in bad.iter_rows())
            count = int(problem.mask.sum())
            lines.append(
                f"column {problem.column!r} {problem.reason} in {count} row(s); first, from 0: {examples}"
                + (f". {problem.remedy}" if problem.remedy else "")
            )
        lines.append(
            "Repair these rows, or leave them out with on_invalid='drop', which reports what it drops."
        )
        raise DataError("\n".join(lines))

    def keep_mask(self, n_rows: int) -> pl.Series:
        """True for the rows without a problem."""
        keep = pl.repeat(True, n_rows, dtype=pl.Boolean, eager=True)
        for problem in self.problems:
            keep = keep & ~problem.mask
        return keep

    def report(self, n_rows: int) -> CleaningReport:
        """What dropping removes; a row counts for the first problem that it has."""
        rules, taken = [], pl.repeat(False, n_rows, dtype=pl.Boolean, eager=True)
        for problem in self.problems:
            fresh = problem.mask & ~taken
            taken = taken | problem.mask
            bad = problem.bad().filter(fresh.filter(problem.mask))
            reason = f"column {problem.column!r} {problem.reason}"
            rules.append(RuleCount.of(problem.rule, reason, bad, problem.column))
        return CleaningReport(n_rows, n_rows - int(taken.sum()), tuple(rules))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
