"""Equal timestamps where a log is parted: how much depends on the order of ties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import polars as pl

from metarec_sdk.data.interactions import Interactions
from metarec_sdk.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class BoundaryTies:
    """Users whose events are parted between two that happened at the same time."""

    users: int
    """Users with events in both parts."""
    tied_users: int
    """Those among them whose first test event has the time of a training event."""
    exchangeable_events: int
    """Test events that another order of ties could swap for a training event."""
    expected_changes: float
    """Test events that a random order of ties would change on average: for a tie of t test and r training
    events, t·r / (t + r)."""

    def to_dict(self) -> dict[str, int | float]:
        """The fields by name."""
        return asdict(self)


def boundary_ties(train: pl.DataFrame, test: pl.DataFrame) -> BoundaryTies:
    """Ties between parts given as frames in the canonical columns of `Interactions`."""
    first = test.group_by("user_id").agg(first=pl.col("timestamp").min())
    both = first.join(train.select("user_id").unique(), on="user_id", how="semi")

    def at_first(part: pl.DataFrame, name: str) -> pl.DataFrame:
        joined = part.select("user_id", "timestamp").join(both, on="user_id")
        return (
            joined.filter(pl.col("timestamp") == pl.col("first"))
            .group_by("user_id")
            .agg(pl.len().alias(name))
        )

    tied = at_first(test, "t").join(at_first(train, "r"), on="user_id")
    t, r = pl.col("t").cast(pl.Float64), pl.col("r").cast(pl.Float64)
    totals = tied.select(exchangeable=pl.min_horizontal("t", "r").sum(), changes=(t * r / (t + r)).sum()).row(
        0
    )
    return BoundaryTies(both.height, tied.height, int(totals[0]), float(totals[1]))


def cut_ties(log: Interactions, k: Sequence[int] = (1, 3, 5, 10, 20)) -> pl.DataFrame:
    """Ties at the cut of first-k episodes: the k-th event and the next one happened at the same time.

    Returns:
        Columns ``k``, ``users`` (with more than k events), ``tied_users``, ``share``; a row for each k that
        any user reaches. A log without times has no ties.

    Raises:
        ArgumentError: for a k < 1.
    """
    if any(one < 1 for one in k):
        raise ArgumentError(f"k must be ≥ 1, got {[*k]}")
    ordered = log.in_order().select(
        position=pl.int_range(1, pl.len() + 1).over("user_id"),
        tied=(pl.col("timestamp") == pl.col("timestamp").shift(-1)).over("user_id"),
    )
    cuts = ordered.filter(pl.col("position").is_in([*k]) & pl.col("tied").is_not_null())
    counted = cuts.group_by(pl.col("position").cast(pl.Int64).alias("k")).agg(
        users=pl.len().cast(pl.Int64), tied_users=pl.col("tied").sum().cast(pl.Int64)
    )
    return counted.with_columns(share=pl.col("tied_users") / pl.col("users")).sort("k")
