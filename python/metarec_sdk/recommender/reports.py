"""What a fit or an update tells: plain data, printable, JSON-able."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from metarec_sdk.recommender.cold_start import BY_SEGMENT, SEGMENT
from metarec_sdk.recommender.guard import BandResult
from metarec_sdk.recommender.popularity import BANDS
from metarec_sdk.recommender.worth import LearnedWorth, MemberWorth, histories_from

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class TaskCandidate:
    """One number of tasks that was tried."""

    n_tasks: int
    loss: float
    """Mean validation cross-entropy of the stack, in nats."""
    gain: float
    """Paired gain over one task."""
    gain_error: float
    """Its standard error."""
    chosen: bool

    def __str__(self) -> str:
        verdict = "kept" if self.chosen else "not kept"
        return (
            f"{self.n_tasks} tasks: {verdict}, queries are {self.gain:+.4f} ± {self.gain_error:.4f} nats "
            f"likelier than with one"
        )


@dataclass
class FitReport:
    """What was learned from a log, and what each part is worth on this data (validation NDCG@10)."""

    events: int
    users: int
    items: int
    generation: str | None = None
    order: Literal["time", "none"] = "time"
    """What the order of a user's events was taken to mean; the notes say why."""
    bands: list[BandResult] = field(default_factory=list)
    """Stack and members by history length; empty where the log was too small to hold anybody out."""
    members: list[MemberWorth] = field(default_factory=list)
    """What each member of the stack is worth, and where it isn't used; empty like ``bands``."""
    correction: str = "as fitted"
    """What was changed in the fitted gates, a name in `metarec_sdk.recommender.corrections`."""
    learned: LearnedWorth | None = None
    """What meta-learning is worth to the stack; None where nothing was learned."""
    cold_start: dict[str, float] = field(default_factory=dict)
    """NDCG@10 at k = 0 of each source; with a known column each popularity form by segment too."""
    cold_choice: str = ""
    item_item: dict[str, float] = field(default_factory=dict)
    """NDCG@10 of the stack with each item-item variant, before anything is meta-learned."""
    item_item_choice: list[str] = field(default_factory=list)
    """The variant that serves each band of history lengths."""
    tasks: list[TaskCandidate] = field(default_factory=list)
    n_tasks: int = 1
    task_sizes: list[int] = field(default_factory=list)
    structure: list[dict[str, Any]] = field(default_factory=list)
    """What each task's adapter kept: task, site, rank, spread."""
    meta_losses: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock time by part."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know, in plain words."""

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able data."""
        return asdict(self)

    def table(self) -> Table:
        """A rich table: one row a band of history lengths."""
        from rich.table import Table

        table = Table(title="Validation NDCG@10 by history length", title_justify="left")
        for name in ("from length", "episodes", "stack"):
            table.add_column(name, justify="right")
        members = list(self.bands[0].members) if self.bands else []
        for name in members:
            table.add_column(f"{name} alone", justify="right")
        table.add_column("served by")
        for band in self.bands:
            table.add_row(
                str(band.first_length),
                str(band.episodes),
                f"{band.stack:.3f}",
                *(f"{band.members[name]:.3f}" for name in members),
                band.serves,
            )
        return table

    def __str__(self) -> str:
        lines = [
            f"{self.events:,} events of {self.users:,} users with {self.items:,} items"
            + (f", generation {self.generation}" if self.generation else ""),
            *self.notes,
            *self._worth(),
            *self._choices(),
            *([str(self.learned)] if self.learned else []),
            *map(str, self.tasks[1:]),  # the first is the one task that the others are measured against
            *([f"tasks of {self.task_sizes} users"] if self.n_tasks > 1 else []),
        ]
        return "\n".join(lines)

    def _worth(self) -> list[str]:
        if not self.members:
            return []
        head = "worth of each member on people kept out of training, NDCG@10 (0 to 1), ± one standard error:"
        return [head, *(f"  {member}" for member in self.members)]

    def _choices(self) -> list[str]:
        found = []
        if self.cold_choice:
            found.append(f"without a history: {self.cold_choice}{self._cold_quality()}")
        if self.item_item_choice:
            usual = max(self.item_item_choice, key=self.item_item_choice.count)
            found.append(f"item-item: {usual}" + _exceptions(usual, self.item_item_choice, BANDS.tolist()))
        if "refined" in self.correction:
            found.append("weights: adjusted for lists, which are better for people who had no part in that")
        alone: dict[str, list[int]] = {}
        for band in self.bands:
            if band.serves != "stack":
                alone.setdefault(band.serves, []).append(band.first_length)
        found += [
            f"{histories_from(firsts)}: {name} alone, better for people who had no part in that choice"
            for name, firsts in alone.items()
        ]
        return found

    def _cold_quality(self) -> str:
        if self.cold_choice not in self.cold_start:
            return ""  # too small a log to compare
        text = f", NDCG@10 {self.cold_start[self.cold_choice]:.3f}"
        if self.cold_choice.endswith(BY_SEGMENT):
            plain = max(
                value
                for name, value in self.cold_start.items()
                if name != SEGMENT and not name.endswith(BY_SEGMENT)
            )
            text += f" against {plain:.3f} without the column"
        return text


def _exceptions(usual: str, choice: list[str], firsts: list[int]) -> str:
    other: dict[str, list[int]] = {}
    for name, first in zip(choice, firsts):
        if name != usual:
            other.setdefault(name, []).append(first)
    return "".join(f"; {name} in {histories_from(bands)}" for name, bands in other.items())


@dataclass(frozen=True)
class UpdateReport:
    """What an update took in and published."""

    generation: str
    parent: str
    events: int
    """Events learned from: those logged since the parent was trained."""
    new_users: list[Any]
    new_items: list[Any]
    adapters_changed: bool
    seconds: float
    structure: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able data."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"generation {self.generation} (after {self.parent}): {self.events:,} events, "
            f"{len(self.new_users):,} new users, {len(self.new_items):,} new items, {self.seconds:.1f} s"
        )
