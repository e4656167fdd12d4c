"""Every user's last item, kept only to compare with published figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from metarec_sdk.data import Interactions, Vocabulary, encode
from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.cases import WHOLE, Case, Prepared, Window
from metarec_sdk.evaluation.fingerprint import protocol_hash
from metarec_sdk.types import Episodes


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut:
    """Train on all but each user's last new item, rank it from everything before.

    Training sees events that are later than other users' targets, which flatters every method: `Warm` is the
    honest protocol. Users with fewer than three distinct items only train. Ties in time are broken by row.
    """

    @property
    def name(self) -> str:
        """``leave-one-out``."""
        return "leave-one-out"

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that the cut depends on, JSON-able."""
        return asdict(self)

    def prepare(self, log: Interactions) -> Prepared:
        """Cut the log.

        Raises:
            ArgumentError: no user has three distinct items.
        """
        items = Vocabulary.from_ids(log.frame["item_id"])
        visits = log.replaced(
            log.in_order().unique(["user_id", "item_id"], keep="first", maintain_order=True)
        )
        tied = _tied_last(visits.frame)
        test = _drop_last(visits, items)
        if len(test.cases[0].episodes) == 0:
            raise ArgumentError(
                f"leave-one-out needs users with three distinct items, none of the {log.n_users} has them"
            )
        validation = _drop_last(test.train, items)
        note = f"{tied:.0%} of the users have a tie at their last time; broken by row order"
        return Prepared(
            test, validation, items, protocol_hash(self.name, self.parameters, log), (note,) if tied else ()
        )


def _drop_last(visits: Interactions, items: Vocabulary) -> Window:
    """The window whose targets are the last events of a log of first visits."""
    frame = visits.frame.with_columns(
        n=pl.len().over("user_id"), place=pl.int_range(pl.len()).over("user_id")
    )
    last = (pl.col("place") == pl.col("n") - 1) & (pl.col("n") >= 3)
    train = visits.replaced(frame.filter(~last).drop("n", "place"))
    users = Vocabulary.from_ids(train.frame["user_id"])
    support = encode(train, users=users, items=items)[0].histories
    targets = visits.replaced(frame.filter(last).drop("n", "place"))
    query = encode(targets, users=users, items=items)[0].histories
    rows = np.flatnonzero(query.lengths > 0).astype(np.int32)
    episodes = Episodes(support.take(rows), query.take(rows), rows)
    return Window(train, (Case("leave-one-out", "time", WHOLE, episodes, users),))


def _tied_last(visits: pl.DataFrame) -> float:
    """Share of users whose last event shares its time with another of theirs."""
    last = visits.group_by("user_id").agg(
        tied=(pl.col("timestamp") == pl.col("timestamp").max()).sum() > 1, n=pl.len()
    )
    share = last.filter(pl.col("n") >= 3)["tied"].mean()
    return float(share) if isinstance(share, float) else 0.0
