"""The last event of each user for test: kept to compare with published figures."""

from __future__ import annotations

import polars as pl

from metarec_sdk.data.interactions import Interactions
from metarec_sdk.data.splits.split import Split
from metarec_sdk.errors import DataError


def leave_one_out(log: Interactions) -> Split:
    """Test = each user's last event, validation = the one before, training = the rest (Kang & McAuley 2018).

    Users with fewer than three events stay in training whole. Events at equal times are taken in the order of
    their rows. Training sees what others did later, so figures are higher than with `global_time`.

    Raises:
        DataError: where no user has three events.
    """
    ordered = log.in_order().with_columns(
        _from_end=pl.int_range(pl.len(), 0, -1).over("user_id"), _events=pl.len().over("user_id")
    )
    place = pl.when(pl.col("_events") < 3).then(3).otherwise(pl.col("_from_end"))
    ordered = ordered.with_columns(_place=place).sort("row")

    def part(condition: pl.Expr) -> Interactions:
        return log.replaced(ordered.filter(condition).drop("_from_end", "_events", "_place"))

    test = part(pl.col("_place") == 1)
    if len(test) == 0:
        raise DataError("leave-one-out needs users with at least 3 events, the log has none")
    return Split(part(pl.col("_place") >= 3), test, part(pl.col("_place") == 2))
