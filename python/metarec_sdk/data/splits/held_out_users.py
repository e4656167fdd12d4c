"""Hold some users out whole."""

from __future__ import annotations

import numpy as np
import polars as pl

from metarec_sdk.data.interactions import Interactions
from metarec_sdk.data.splits.split import Split
from metarec_sdk.errors import ArgumentError, DataError


def held_out_users(log: Interactions, *, fraction: float = 0.1, rng: np.random.Generator) -> Split:
    """Test = all events of a random share of the users (at least one user, and one is left for training).

    The choice depends on the set of users and on rng, not on the order of the rows.

    Raises:
        ArgumentError: for a fraction outside 0 … 1 (exclusive).
        DataError: where the log has fewer than two users.
    """
    held_out = choose_users(log.frame["user_id"], fraction, rng)
    is_held_out = pl.col("user_id").is_in(held_out.to_list())
    return Split(log.filter(~is_held_out), log.filter(is_held_out), users_disjoint=True)


def choose_users(users: pl.Series, fraction: float, rng: np.random.Generator) -> pl.Series:
    """A random share of the distinct users, sorted."""
    if not 0 < fraction < 1:
        raise ArgumentError(f"the fraction of users held out must be between 0 and 1, got {fraction}")
    distinct = users.unique().sort()
    if len(distinct) < 2:
        raise DataError(f"holding users out needs at least 2 users, the log has {len(distinct)}")
    n_chosen = min(max(round(fraction * len(distinct)), 1), len(distinct) - 1)
    return distinct.gather(np.sort(rng.choice(len(distinct), n_chosen, replace=False)))
