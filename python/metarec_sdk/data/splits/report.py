"""What the check of a split found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from metarec_sdk.data.splits.ties import BoundaryTies
from metarec_sdk.errors import DataError

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Leak:
    """One way in which the test part shows in the training part."""

    name: str
    """``same_event``, ``shared_user``, ``after_split_time``, ``before_split_time`` or ``user_future``."""
    reason: str
    """In words, with the remedy."""
    count: int
    """Events (users for ``shared_user``) concerned."""
    examples: tuple[dict[str, Any], ...]
    """The first few."""


@dataclass(frozen=True, slots=True)
class SplitReport:
    """Sizes, leaks and ties of a split; printable with rich, JSON-able through `to_dict`."""

    train_events: int
    train_users: int
    test_events: int
    test_users: int
    unseen_item_events: int
    """Test events on items that training doesn't have: no method can rank these."""
    overlapping_events: int
    """Training events at or after the first test event of anybody. Where time parts the log this is 0; with
    leave-one-out and held-out users it isn't, so that methods see what was popular later."""
    leaks: tuple[Leak, ...]
    ties: BoundaryTies
    cuts: pl.DataFrame | None = None
    """For cold users: ties at the cut behind the k-th event, see `cut_ties`."""

    @property
    def leaking(self) -> bool:
        """True where anything leaks."""
        return bool(self.leaks)

    def raise_if_leaking(self) -> None:
        """Raise DataError naming every leak with its first examples."""
        if self.leaks:
            found = "\n".join(f"- {leak.name}: {leak.reason}; e.g. {leak.examples[0]}" for leak in self.leaks)
            raise DataError(f"the split leaks:\n{found}")

    def with_leaks_of(self, other: SplitReport, where: str) -> SplitReport:
        """This report with the leaks of another pair of parts, marked with where they are."""
        more = tuple(replace(leak, reason=f"{leak.reason} (between {where})") for leak in other.leaks)
        return replace(self, leaks=self.leaks + more)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists."""
        return {
            "train_events": self.train_events,
            "train_users": self.train_users,
            "test_events": self.test_events,
            "test_users": self.test_users,
            "unseen_item_events": self.unseen_item_events,
            "overlapping_events": self.overlapping_events,
            "leaks": [
                {"name": leak.name, "reason": leak.reason, "count": leak.count, "examples": [*leak.examples]}
                for leak in self.leaks
            ],
            "ties": self.ties.to_dict(),
            "cuts": None if self.cuts is None else self.cuts.to_dicts(),
        }

    def __str__(self) -> str:
        lines = [f"{heading}: {text}" for heading, text in self._lines()]
        return "\n".join(lines)

    def __rich__(self) -> Table:
        from rich.markup import escape
        from rich.table import Table

        table = Table(title="split check", show_header=False)
        for heading, text in self._lines():
            table.add_row(heading, escape(text), style="red" if heading.startswith("leak") else "")
        return table

    def _lines(self) -> list[tuple[str, str]]:
        share = self.ties.tied_users / max(self.ties.users, 1)
        lines = [
            ("training", f"{self.train_events:,} events of {self.train_users:,} users"),
            ("test", f"{self.test_events:,} events of {self.test_users:,} users"),
            ("unseen items", f"{self.unseen_item_events:,} test events can't be ranked"),
            ("overlap in time", f"{self.overlapping_events:,} training events aren't before the test begins"),
            (
                "ties",
                f"{self.ties.tied_users:,} of {self.ties.users:,} users ({share:.1%}) are cut inside a tie; "
                f"another order of ties would change {self.ties.expected_changes:,.1f} of "
                f"{self.test_events:,} test events on average",
            ),
        ]
        if self.cuts is not None:
            shares = ", ".join(f"k={row['k']}: {row['share']:.1%}" for row in self.cuts.iter_rows(named=True))
            lines.append(("ties at the cut", shares or "no cold user has enough events"))
        lines += [(f"leak: {leak.name}", f"{leak.count:,}: {leak.reason}") for leak in self.leaks]
        return lines if self.leaks else [*lines, ("leaks", "none found")]
