"""`clean`: take out what shouldn't be learned from, rule by rule, and say what was taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from metarec_sdk.data.cleaning_report import CleaningReport, RuleCount
from metarec_sdk.data.core_events import core
from metarec_sdk.data.interactions import Interactions
from metarec_sdk.data.moment import Moment, microseconds
from metarec_sdk.data.repeated_rows import repeated_rows
from metarec_sdk.errors import ArgumentError, ColumnError, DataError, PluginError
from metarec_sdk.protocols import BehaviourModel


def clean(
    log: Interactions,
    *,
    missing: Sequence[str] = (),
    duplicates: bool = False,
    value_range: Mapping[str, tuple[float | None, float | None]] | None = None,
    time_range: tuple[Moment | None, Moment | None] | None = None,
    max_events_per_minute: int | None = None,
    max_events_per_hour: int | None = None,
    min_user_events: int | None = None,
    min_item_events: int | None = None,
    behaviour: BehaviourModel | None = None,
    min_log_likelihood: float | None = None,
    max_log_likelihood: float | None = None,
) -> tuple[Interactions, CleaningReport]:
    """Rules that are asked for, in the order of the arguments; none is on by itself.

    Args:
        log: the events; left as it is.
        missing: columns in which a null (or NaN) makes the row useless, for example ``["value"]``.
        duplicates: take out rows that repeat user, item, time, event type and value of an earlier row. In a
            log without times that means any repetition.
        value_range: for each event type the least and the greatest possible value (None = open), for example
            ``{"rating": (1, 5), "dwell": (0, 86400)}``. Rows without a value pass.
        time_range: the earliest and the latest possible time (None = open).
        max_events_per_minute: users with more events than this in any 60 seconds are taken for bots and go
            with all their events.
        max_events_per_hour: the same for any 3,600 seconds.
        min_user_events: users with fewer events go, and
        min_item_events: items with fewer events go, in turns until all that are left have enough (k-core).
        behaviour: a fitted behaviour model, and one or both of
        min_log_likelihood: the least mean log-likelihood of an event, in nats; users whose events are less
            likely than that under the model go with all their events, and
        max_log_likelihood: the greatest one; users whose events are likelier go with all their events. What a
            program does in the same way again and again is likelier than anything that people do.

    Returns:
        The log that is left, and the report with the count and examples of each rule that was asked for.

    Raises:
        ArgumentError: for a rule that can't be applied: a bound < 1, an empty range, rates without times.
        ColumnError: for a column in ``missing`` that isn't there.
        DataError: where nothing is left; the message holds the report.
    """
    _check_bounds(
        max_events_per_minute=max_events_per_minute,
        max_events_per_hour=max_events_per_hour,
        min_user_events=min_user_events,
        min_item_events=min_item_events,
    )
    _check_likelihoods(behaviour, min_log_likelihood, max_log_likelihood)
    frame, rules = log.frame, list[RuleCount]()
    for column in missing:
        frame = _take_missing(frame, column, rules)
    if duplicates:
        frame = _take_duplicates(frame, log.has_time, rules)
    for event_type, (low, high) in (value_range or {}).items():
        frame = _take_values(frame, event_type, low, high, rules)
    if time_range is not None:
        _needs_time(log, "time_range")
        frame = _take_times(frame, *time_range, rules)
    for name, limit, seconds in (
        ("max_events_per_minute", max_events_per_minute, 60),
        ("max_events_per_hour", max_events_per_hour, 3600),
    ):
        if limit is not None:
            _needs_time(log, name)
            frame = _take_bots(frame, limit, seconds, name, rules)
    if min_user_events is not None or min_item_events is not None:
        frame = _take_rare(frame, min_user_events or 1, min_item_events or 1, rules)
    if behaviour is not None and frame.height:
        bounds = {"min_log_likelihood": min_log_likelihood, "max_log_likelihood": max_log_likelihood}
        frame = _take_unlikely(frame, log.has_time, behaviour, bounds, rules)
    report = CleaningReport(len(log), frame.height, tuple(rules))
    if frame.height == 0:
        raise DataError(f"cleaning leaves nothing of the log; loosen the rules:\n{report}")
    return log.replaced(frame), report


def _take_missing(frame: pl.DataFrame, column: str, rules: list[RuleCount]) -> pl.DataFrame:
    if column not in frame.columns:
        raise ColumnError.missing(column, "missing", frame.columns)
    absent = pl.col(column).is_null()
    if frame.schema[column].is_float():
        absent = absent | pl.col(column).is_nan()
    return _without(frame, absent, "missing", f"column {column!r} is missing", (column,), rules)


def _take_duplicates(frame: pl.DataFrame, has_time: bool, rules: list[RuleCount]) -> pl.DataFrame:
    key = ["user_id", "item_id", "event_type", "value"] + (["timestamp"] if has_time else [])
    reason = f"repeats an earlier row in {', '.join(key)}"
    again = repeated_rows(frame, key)
    return _without(frame, again, "duplicates", reason, ("user_id", "item_id"), rules)


def _take_values(
    frame: pl.DataFrame, event_type: str, low: float | None, high: float | None, rules: list[RuleCount]
) -> pl.DataFrame:
    if low is not None and high is not None and low > high:
        raise ArgumentError(f"value_range of {event_type!r} is empty: {low} … {high}")
    types = frame["event_type"].unique().to_list()
    if event_type not in types:
        raise ArgumentError(f"value_range names the event type {event_type!r}; the log has {sorted(types)}")
    impossible = pl.lit(False)
    if low is not None:
        impossible = impossible | (pl.col("value") < low)
    if high is not None:
        impossible = impossible | (pl.col("value") > high)
    bad = (pl.col("event_type") == event_type) & impossible.fill_null(False)
    reason = f"value of {event_type!r} outside {_open(low)} … {_open(high)}"
    return _without(frame, bad, "value_range", reason, ("value",), rules)


def _take_times(
    frame: pl.DataFrame, low: Moment | None, high: Moment | None, rules: list[RuleCount]
) -> pl.DataFrame:
    first = None if low is None else microseconds(low, "time_range")
    last = None if high is None else microseconds(high, "time_range")
    if first is not None and last is not None and first > last:
        raise ArgumentError(f"time_range is empty: {low} … {high}")
    bad = pl.lit(False)
    if first is not None:
        bad = bad | (pl.col("timestamp") < first)
    if last is not None:
        bad = bad | (pl.col("timestamp") > last)
    reason = f"time outside {_open(low)} … {_open(high)}"
    return _without(frame, bad, "time_range", reason, ("timestamp",), rules)


def _take_bots(
    frame: pl.DataFrame, limit: int, seconds: int, name: str, rules: list[RuleCount]
) -> pl.DataFrame:
    # Event i and event i + limit within the window means limit + 1 events in it.
    span = pl.col("timestamp").shift(-limit).over("user_id") - pl.col("timestamp")
    bots = frame.sort("timestamp").filter(span < seconds * 1_000_000)["user_id"].unique()
    is_bot = pl.col("user_id").is_in(bots.to_list())
    reason = f"{len(bots)} user(s) with more than {limit} events within {seconds} s"
    return _without(frame, is_bot, name, reason, ("user_id",), rules)


def _take_rare(frame: pl.DataFrame, min_user: int, min_item: int, rules: list[RuleCount]) -> pl.DataFrame:
    kept = pl.Series(core(frame["user_id"], frame["item_id"], min_user, min_item))
    reason = f"users with fewer than {min_user} or items with fewer than {min_item} events, in turns"
    return _without(frame, ~kept, "k_core", reason, ("user_id", "item_id"), rules)


def _take_unlikely(
    frame: pl.DataFrame,
    has_time: bool,
    behaviour: BehaviourModel,
    bounds: Mapping[str, float | None],
    rules: list[RuleCount],
) -> pl.DataFrame:
    sizes = frame.group_by("user_id").agg(n=pl.len()).sort("user_id")
    total = behaviour.log_likelihood(frame if has_time else frame.drop("timestamp"))
    if total.shape != (sizes.height,):
        raise PluginError(
            f"{type(behaviour).__name__}.log_likelihood gave shape {total.shape} for {sizes.height} users"
        )
    mean = pl.Series(total / sizes["n"].to_numpy())
    for rule, bound in bounds.items():
        if bound is None:
            continue
        beyond, word = (mean < bound, "less") if rule == "min_log_likelihood" else (mean > bound, "more")
        users = sizes.filter(beyond)["user_id"]
        reason = f"{len(users)} user(s) with {word} than {bound} nats an event"
        frame = _without(frame, pl.col("user_id").is_in(users.to_list()), rule, reason, ("user_id",), rules)
    return frame


def _without(
    frame: pl.DataFrame,
    bad: pl.Expr | pl.Series,
    rule: str,
    reason: str,
    shown: tuple[str, ...],
    rules: list[RuleCount],
) -> pl.DataFrame:
    """The frame without the bad rows, which are added to the rules' counts."""
    mask = bad if isinstance(bad, pl.Series) else frame.select(bad.fill_null(False)).to_series()
    rules.append(RuleCount.of(rule, reason, frame.filter(mask), *shown))
    return frame.filter(~mask) if rules[-1].rows else frame


def _check_bounds(**bounds: int | None) -> None:
    for name, bound in bounds.items():
        if bound is not None and (not isinstance(bound, int) or isinstance(bound, bool) or bound < 1):
            raise ArgumentError(f"{name} must be an integer ≥ 1 or None, got {bound!r}")


def _check_likelihoods(behaviour: BehaviourModel | None, low: float | None, high: float | None) -> None:
    if (behaviour is None) != (low is None and high is None):
        raise ArgumentError(
            "cleaning by likelihood needs behaviour= and a bound, min_log_likelihood= or max_log_likelihood="
        )
    if low is not None and high is not None and not low <= high:
        raise ArgumentError(f"min_log_likelihood {low} is above max_log_likelihood {high}")


def _needs_time(log: Interactions, rule: str) -> None:
    if not log.has_time:
        raise ArgumentError(f"{rule} needs times, and the log has none")


def _open(bound: object) -> str:
    return "…" if bound is None else str(bound)
