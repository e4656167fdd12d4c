"""From an interaction log to what the stages train on, over a fixed catalogue."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from metarec_sdk.data import Interactions, Vocabulary, encode
from metarec_sdk.data.episodes import shuffled
from metarec_sdk.errors import ColumnError
from metarec_sdk.protocols import BehaviourModel, FeedbackModel
from metarec_sdk.types import Float32, Histories, Int32, TrainingLog


@dataclass(frozen=True)
class Prepared:
    """An encoded log, its users, and the known task of each."""

    log: TrainingLog
    """What the members are trained on, each user's events in random order where the log isn't ordered."""
    in_time: Histories
    """The same events, oldest first."""
    users: Vocabulary
    codes: Int32 | None
    """i32[u], category of the clusterer's column; None where tasks don't come from a column."""
    categories: list[str]
    """The values behind the codes."""

    def with_content(self, content: Float32 | None) -> Prepared:
        """The same with content vectors f32[n, c] in the log."""
        return replace(self, log=replace(self.log, item_features=content))


def prepare(
    log: Interactions,
    items: Vocabulary,
    feedback: FeedbackModel,
    behaviour: BehaviourModel,
    rng: np.random.Generator,
    column: str | None,
    user_table: pl.DataFrame | None,
    categories: list[str] | None = None,
    *,
    ordered: bool = True,
) -> Prepared:
    """Weigh, encode and describe the users of a log.

    ``behaviour`` is fitted on this log alone. ``categories`` fixes the codes of the column (those of an
    earlier fit). Where the log isn't ``ordered``, each user's events are shuffled.
    """
    _, weights = feedback.weigh(log.frame)
    encoded, users, _ = encode(log, items=items, weights=weights)
    codes = None
    if column is not None:
        values = column_values(log, users, column, user_table)
        if categories is None:
            categories = sorted({value for value in values if value is not None})
        place = {value: code for code, value in enumerate(categories)}
        codes = np.array([-1 if value is None else place.get(value, -1) for value in values], np.int32)
    in_time, features = encoded.histories, user_features(log, behaviour, rng)
    histories = in_time if ordered else shuffled(in_time, rng)
    training = TrainingLog(histories, encoded.n_items, features, ordered=ordered)
    return Prepared(training, in_time, users, codes, categories or [])


def user_features(log: Interactions, behaviour: BehaviourModel, rng: np.random.Generator) -> Float32:
    """f32[u, p], what the behaviour model says of the users, in their sorted order."""
    events = log.frame if log.has_time else log.frame.drop("timestamp")
    behaviour.fit(events, rng)
    return behaviour.features(events)


def column_values(
    log: Interactions, users: Vocabulary, column: str, user_table: pl.DataFrame | None
) -> list[str | None]:
    """The value of the column for each user, as text: from the users' table, else the most frequent one in
    the log.

    Raises `ColumnError` where neither has the column.
    """
    ids = pl.DataFrame({"user_id": users.decode(np.arange(len(users)))})
    if user_table is not None and column in user_table.columns:
        known = user_table.select("user_id", pl.col(column).cast(pl.String)).unique("user_id", keep="first")
    elif column in log.frame.columns:
        known = (
            log.frame.select("user_id", pl.col(column).cast(pl.String))
            .drop_nulls()
            .group_by("user_id", column)
            .len()
            .sort(["len", column], descending=[True, False])
            .unique("user_id", keep="first", maintain_order=True)
        )
    else:
        tables = [*log.frame.columns, *(user_table.columns if user_table is not None else [])]
        raise ColumnError.missing(column, "column", dict.fromkeys(tables))
    values: list[str | None] = ids.join(known, on="user_id", how="left", maintain_order="left")[
        column
    ].to_list()
    return values
