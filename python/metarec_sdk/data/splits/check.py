"""`check_split`: what of the test part shows in the training part."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from metarec_sdk.data.interactions import Interactions
from metarec_sdk.data.splits.report import Leak, SplitReport
from metarec_sdk.data.splits.ties import boundary_ties
from metarec_sdk.errors import ColumnError

_EVENT = ["user_id", "item_id", "timestamp", "event_type"]
_NEEDED = [*_EVENT, "row"]
_EXAMPLES = 5


def check_split(
    train: Interactions, test: Interactions, *, users_disjoint: bool = False, time: int | None = None
) -> SplitReport:
    """Check any two parts, whoever made them; a `Split` has ``check()``.

    Looks for the same event in both parts, training events of a user that come after that user's first test
    event, shared users where ``users_disjoint``, and events on the wrong side of ``time`` (microseconds since
    1970 UTC). Ties are counted, see `BoundaryTies`; they are no leak, but a source of noise.

    Returns:
        The report; ``report.raise_if_leaking()`` raises DataError where anything leaks.

    Raises:
        ColumnError: where ids are integers in one part and strings in the other.
    """
    return check_frames([train], [test], users_disjoint=users_disjoint, time=time)


def check_frames(
    train_parts: Sequence[Interactions],
    test_parts: Sequence[Interactions],
    *,
    users_disjoint: bool,
    time: int | None,
    test_from_time: bool = True,
) -> SplitReport:
    """`check_split` over parts that belong together; ``test_from_time=False`` lets test events lie before
    ``time``, as those of held-out users do."""
    train, test = _together(train_parts), _together(test_parts)
    for column in ("user_id", "item_id"):
        if train.schema[column] != test.schema[column]:
            raise ColumnError(
                f"{column!r} is {train.schema[column]} in training and {test.schema[column]} in test; "
                f"read both parts alike"
            )
    leaks = [_same_event(train, test), _user_future(train, test)]
    if users_disjoint:
        leaks.append(_shared_user(train, test))
    if time is not None:
        late = train.filter(pl.col("timestamp") >= time)
        leaks.append(_leak("after_split_time", "training events at or after the split time", late))
        if test_from_time:
            early = test.filter(pl.col("timestamp") < time)
            leaks.append(_leak("before_split_time", "test events before the split time", early))
    first_test = test["timestamp"].min()
    overlapping = 0 if first_test is None else int((train["timestamp"] >= first_test).sum())
    return SplitReport(
        train_events=train.height,
        train_users=train["user_id"].n_unique(),
        test_events=test.height,
        test_users=test["user_id"].n_unique(),
        unseen_item_events=test.join(train.select("item_id").unique(), on="item_id", how="anti").height,
        overlapping_events=overlapping,
        leaks=tuple(leak for leak in leaks if leak is not None),
        ties=boundary_ties(train, test),
    )


def _together(parts: Sequence[Interactions]) -> pl.DataFrame:
    return pl.concat([part.frame.select(_NEEDED) for part in parts])


def _same_event(train: pl.DataFrame, test: pl.DataFrame) -> Leak | None:
    shared = test.join(train.select(_EVENT).unique(), on=_EVENT, how="semi")
    reason = (
        "test events that are in training too (same user, item, time and type); "
        "remove duplicates with clean(log, duplicates=True) before splitting"
    )
    return _leak("same_event", reason, shared)


def _user_future(train: pl.DataFrame, test: pl.DataFrame) -> Leak | None:
    first = test.group_by("user_id").agg(first_test=pl.col("timestamp").min())
    later = train.join(first, on="user_id").filter(pl.col("timestamp") > pl.col("first_test"))
    return _leak("user_future", "training events later than the same user's first test event", later)


def _shared_user(train: pl.DataFrame, test: pl.DataFrame) -> Leak | None:
    shared = test.select("user_id").unique().join(train, on="user_id", how="semi").sort("user_id")
    return _leak("shared_user", "users that are in training and in test", shared)


def _leak(name: str, reason: str, rows: pl.DataFrame) -> Leak | None:
    if rows.height == 0:
        return None
    ordered = rows.sort("row") if "row" in rows.columns else rows
    return Leak(name, reason, rows.height, tuple(ordered.head(_EXAMPLES).to_dicts()))
