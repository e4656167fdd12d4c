"""Known tasks of people whose events training has never seen: side information from the users' table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl

from metarec_sdk.data import Vocabulary
from metarec_sdk.types import Histories, Int32, Memberships


@runtime_checkable
class TaskAware(Protocol):
    """A recommender that takes known tasks, as `metarec_sdk.Recommender` does with ``clusterer="column"``."""

    @property
    def task_column(self) -> str | None:
        """The column that holds them; None where it takes none."""

    def memberships(
        self, histories: Histories, task: Sequence[str | None] | None, unknown: str
    ) -> Memberships:
        """Memberships of b histories whose tasks are known or None."""


def known_tasks(
    recommender: object, users: pl.DataFrame | None, people: Vocabulary, rows: Int32
) -> list[str | None] | None:
    """The task of each of the people at ``rows`` i32[b], as text; None where the recommender takes none.

    The users' table alone is looked at: a column of the log would tell of the very events to be found.
    """
    if users is None or not isinstance(recommender, TaskAware):
        return None
    column = recommender.task_column
    if column is None or column not in users.columns:
        return None
    table = users.select("user_id", pl.col(column).cast(pl.String)).unique("user_id", keep="first")
    ids = pl.DataFrame({"user_id": people.decode(np.asarray(rows))})
    found: list[str | None] = ids.join(table, on="user_id", how="left", maintain_order="left")[
        column
    ].to_list()
    return found
