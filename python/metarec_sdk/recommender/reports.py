"""What a fit or an update tells: plain data, printable, JSON-able."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from metarec_sdk.recommender.guard import BandResult
from metarec_sdk.recommender.worth import LearnedWorth, MemberWorth

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
            f"{self.n_tasks} tasks: {verdict}, {self.gain:+.4f} ± {self.gain_error:.4f} nats against one task"
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
            *map(str, self.members),
            *(
                [f"gates: {self.correction}, since that ranks better for people on whom it wasn't found"]
                if self.correction != "as fitted"
                else []
            ),
            *([str(self.learned)] if self.learned else []),
            *map(str, self.tasks[1:]),  # the first is the one task that the others are measured against
        ]
        return "\n".join(lines)


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
