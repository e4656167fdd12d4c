"""The CSV as cells: for each the rows of the newest run that has it, and its ratios."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from topk import record
from topk.approximate_peers import RECALL
from topk.targets import TARGETS, Target


@dataclass(frozen=True)
class Entry:
    """A contender at its best thread count."""

    contender: str
    ours: bool
    exact: bool
    threads: int
    ms: float
    row: dict[str, str]


@dataclass(frozen=True)
class Measured:
    """One cell."""

    name: str
    rows: list[dict[str, str]]
    ceilings: dict[tuple[str, int], float]
    """(what, threads): Gop/s or GB/s, of the same run."""

    @property
    def kind(self) -> str:
        found = re.match(r"[a-z]+", self.name)
        return found.group() if found else ""

    def entries(self) -> dict[str, Entry]:
        """Everybody's best over thread counts, by name."""
        best: dict[str, Entry] = {}
        for row in self.rows:
            entry = Entry(
                row["contender"],
                row["ours"] == "1",
                row["exact"] == "1",
                int(row["threads"]),
                float(row["median_ms"]),
                row,
            )
            if entry.contender not in best or entry.ms < best[entry.contender].ms:
                best[entry.contender] = entry
        return best

    def ours(self) -> Entry:
        """What the cell is about: with the filter in a cell of that kind."""
        entries = self.entries()
        return entries["metarec seen"] if self.kind == "seen" else entries["metarec"]

    def opponent(self) -> Entry:
        """The fastest of the others: exact ones, those that filter where we filter, and approximate ones that
        reach the recall asked for in the cells about those."""
        others = [entry for entry in self.entries().values() if not entry.ours]
        if self.kind == "approximate":
            reached = [entry for entry in others if float(entry.row["agreement"]) >= RECALL]
            return min(reached or others, key=lambda entry: entry.ms)
        if self.kind == "seen":
            others = [entry for entry in others if entry.contender.endswith("seen")]
        if self.kind == "build":
            others = [entry for entry in others if entry.contender == "numpy copy"]
        return min(others, key=lambda entry: entry.ms)

    def ratio(self) -> float:
        """The opponent's time over ours: above 1 we are faster."""
        return self.opponent().ms / self.ours().ms

    def targets(self) -> list[tuple[Target, float | None]]:
        """The targets of this cell with what was measured; None where a contender is missing."""
        return [(target, self._value(target)) for target in TARGETS if re.fullmatch(target.cells, self.name)]

    def _value(self, target: Target) -> float | None:
        entries = self.entries()
        ours = entries.get(target.ours)
        if ours is None:
            return None
        if target.against == "int8":
            share = ours.row["share"]
            return 100 * float(share) if share and ours.row["limit"] == "int8" else None
        if target.against == "read":
            share = ours.row["share"]
            return 1 / float(share) if share and ours.row["limit"] == "read" else None
        if target.against == "own":
            return 100 * (ours.ms / entries["metarec"].ms - 1)
        other = self.opponent() if target.against == "best exact" else entries.get(target.against)
        if other is None:
            return None
        return ours.ms / other.ms if target.unit == "cost" else other.ms / ours.ms


def load(path: Path) -> list[Measured]:
    """Cells in the order in which they were first measured."""
    newest: dict[str, str] = {}
    by_cell: dict[tuple[str, str], list[dict[str, str]]] = {}
    ceilings: dict[str, dict[tuple[str, int], float]] = {}
    for row in record.read(path):
        if row["cell"].startswith("ceiling/"):
            ceilings.setdefault(row["run"], {})[row["contender"], int(row["threads"])] = float(row["rate"])
            continue
        newest[row["cell"]] = row["run"]
        by_cell.setdefault((row["cell"], row["run"]), []).append(row)
    return [Measured(name, by_cell[name, run], ceilings.get(run, {})) for name, run in newest.items()]
