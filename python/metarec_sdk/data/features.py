"""Behaviour features of users: what they do, how often, how lately and how widely."""

from __future__ import annotations

import polars as pl

from metarec_sdk.data.interactions import Interactions
from metarec_sdk.data.moment import Moment, microseconds
from metarec_sdk.errors import ArgumentError, ColumnError

DAY = 86_400_000_000
"""Microseconds in a day."""


def behaviour_features(
    log: Interactions,
    *,
    now: Moment | None = None,
    items: pl.DataFrame | None = None,
    category: str | None = None,
) -> pl.DataFrame:
    """One row a user, sorted by ``user_id``; features are Float64 and null where they aren't defined.

    ======================  ==========================================================================
    ``events``              number of events
    ``click_through_rate``  clicks / views, at most 1; null without views
    ``purchase_rate``       purchases / (views + clicks + carts + purchases); null where that is 0
    ``mean_value``          mean of the values that aren't dwell, for example ratings
    ``dwell``               mean seconds of ``dwell`` events
    ``recency``             days from the last event to ``now``; only with times
    ``frequency``           events a day between the first and the last event, counting at least one day;
                            only with times
    ``diversity``           entropy (nats) of the user's events over items, or over categories where given
    ``popularity``          mean over the events of log(events of the item / events of the log)
    ======================  ==========================================================================

    Event types are ``view``, ``click``, ``cart``, ``purchase`` and ``dwell``; others count as events only.

    Args:
        log: the events. Only what lies before the prediction belongs in it.
        now: the moment that recency counts to; the last event of the log where None.
        items: a table keyed by ``item_id`` that holds the categories.
        category: its column: a value or a list of values (genres) an item. Each event counts once for every
            category of its item; events without a category are left out of ``diversity``.

    Raises:
        ArgumentError: where only one of ``items`` and ``category`` is given, or ``now`` lies before an event.
        ColumnError: where the table of items lacks a column or has ids of another kind.
    """
    if (items is None) != (category is None):
        raise ArgumentError("diversity over categories needs both items= and category=")
    n_events = len(log)
    item_share = (pl.len().over("item_id") / n_events).log()
    value, kind = pl.col("value"), pl.col("event_type")
    views, clicks = (kind == "view").sum(), (kind == "click").sum()
    purchases = (kind == "purchase").sum()
    acts = kind.is_in(["view", "click", "cart", "purchase"]).sum()
    features = {
        "events": pl.len().cast(pl.Float64),
        "click_through_rate": pl.when(views > 0).then((clicks / views).clip(upper_bound=1.0)),
        "purchase_rate": pl.when(acts > 0).then(purchases / acts),
        "mean_value": value.filter(kind != "dwell").mean(),
        "dwell": value.filter(kind == "dwell").mean(),
    }
    if log.has_time:
        time = pl.col("timestamp")
        end = _end(log, now)
        features["recency"] = (end - time.max()) / DAY
        features["frequency"] = pl.len() / ((time.max() - time.min()) / DAY).clip(lower_bound=1.0)
    features["popularity"] = pl.col("_item_share").mean()
    users = log.frame.lazy().with_columns(_item_share=item_share).group_by("user_id").agg(**features)
    labels = log.frame.lazy().select("user_id", label="item_id")
    if items is not None and category is not None:
        labels = _categories(log, items, category)
    result = users.join(_entropy(labels), on="user_id", how="left")
    names = [*features]
    names.insert(names.index("popularity"), "diversity")
    return result.select("user_id", *names).sort("user_id").collect()


def _end(log: Interactions, now: Moment | None) -> int:
    times = log.frame["timestamp"]
    last = int(times.sort()[-1]) if len(times) else 0
    end = last if now is None else microseconds(now, "now")
    if end < last:
        raise ArgumentError(f"now ({now}) lies before the last event; take later events out of the log first")
    return end


def _categories(log: Interactions, items: pl.DataFrame, category: str) -> pl.LazyFrame:
    for column, role in (("item_id", "items"), (category, "category")):
        if column not in items.columns:
            raise ColumnError.missing(column, role, items.columns)
    table = items.select("item_id", label=pl.col(category)).unique(
        "item_id", keep="first", maintain_order=True
    )
    kind = log.frame.schema["item_id"]
    if table.schema["item_id"].is_integer() != (kind == pl.Int64):
        raise ColumnError(
            f"item_id is {table.schema['item_id']} in items and {kind} in the log; make them alike"
        )
    if isinstance(table.schema["label"], pl.List):
        table = table.explode("label")
    table = table.with_columns(pl.col("item_id").cast(kind)).drop_nulls("label")
    return log.frame.lazy().select("user_id", "item_id").join(table.lazy(), on="item_id")


def _entropy(labels: pl.LazyFrame) -> pl.LazyFrame:
    counts = labels.group_by("user_id", "label").agg(count=pl.len())
    return counts.group_by("user_id").agg(diversity=pl.col("count").sort().entropy(base=2.718281828459045))
