"""Which data sets are in the study, and how each is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from metarec_sdk.data import Interactions, datasets
from metarec_sdk.data.interactions import REQUIRED
from metarec_sdk.errors import UnknownIdError
from metarec_sdk.evaluation.protocols import ColdStart

SAMPLE_SEED = 20_250_101
"""Seed of the users kept under a cap, and of the order given to rows that have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySet:
    """A data set, read in one way.

    Repeated events train as they are; only first visits are ranked (discovery), as `ColdStart` has it. Of the
    columns only user, item, time, type and value are kept: what else a source has means something of its own,
    and coat's ``propensity``, say, would make the stack weigh events that the queries count alike.
    """

    name: str
    """Name in the study."""
    dataset: str
    """Name for `metarec_sdk.data.datasets.load`."""
    about: str
    """What the events are."""
    ordered: bool
    """Whether the rows have a real order. If not they are shuffled, since the order of a file (often by item)
    is no behaviour, and only the random order is judged."""
    clock: bool = False
    """Cut at a global time; otherwise only users are held out, and times give nothing but the order."""
    held_out: float = 0.2
    """Share of users held out whole."""
    max_users: int | None = None
    """Users kept, drawn with `SAMPLE_SEED`; None keeps all."""
    only: tuple[str, str] | None = None
    """Column and the one value of it that is kept."""

    @property
    def orders(self) -> tuple[Literal["time", "random"], ...]:
        """The orders judged."""
        return ("time", "random") if self.ordered else ("random",)

    def protocol(self, ks: tuple[int, ...]) -> ColdStart:
        """How the log is cut."""
        return ColdStart(ks=ks, orders=self.orders, held_out=self.held_out)

    def read(self, max_users: int | None = None) -> Interactions:
        """The log; ``max_users`` replaces the set's own cap, 0 keeps everybody.

        Raises what `metarec_sdk.data.datasets.load` raises.
        """
        log = datasets.load(self.dataset).interactions
        rng = np.random.default_rng(SAMPLE_SEED)
        if self.only is not None:
            log = log.filter(pl.col(self.only[0]) == self.only[1])
        log = log.replaced(log.frame.select(REQUIRED))
        cap = self.max_users if max_users is None else max_users
        users = log.frame["user_id"].unique().sort()
        if cap and cap < len(users):
            kept = users.gather(np.sort(rng.choice(len(users), cap, replace=False)))
            log = log.filter(pl.col("user_id").is_in(kept.to_list()))
        if self.ordered:
            return log if self.clock else _renumbered(log, log.in_order())
        # Without an order a second event on the same item says nothing: one purchase listed in two files.
        frame = log.frame.sort("user_id", "item_id", "row").unique(
            ["user_id", "item_id"], keep="first", maintain_order=True
        )
        return _renumbered(log, frame[rng.permutation(frame.height)])


def _renumbered(log: Interactions, frame: pl.DataFrame) -> Interactions:
    """A log without times whose events are in the order of the frame's rows."""
    rows = pl.Series(np.arange(frame.height, dtype=np.int64))
    return Interactions(frame.with_columns(timestamp=rows, row=rows), has_time=False)


SETS: tuple[StudySet, ...] = (
    StudySet(
        name="coat",
        dataset="coat",
        about="clothes, self-chosen ratings",
        ordered=False,
        held_out=0.35,
        only=("split", "train"),
    ),
    StudySet(
        name="lastfm-s3rec", dataset="lastfm-s3rec", about="music, artists heard", ordered=True, held_out=0.35
    ),
    StudySet(
        name="movielens-100k", dataset="movielens-100k", about="films rated", ordered=True, held_out=0.35
    ),
    StudySet(
        name="movielens-100k-shuffled",
        dataset="movielens-100k",
        about="films rated, without their order in training too",
        ordered=False,
        held_out=0.35,
    ),
    StudySet(
        name="mealrec-plus-h", dataset="mealrec-plus-h", about="meals chosen", ordered=False, held_out=0.35
    ),
    StudySet(
        name="assist2015",
        dataset="assist2015",
        about="education, skills practised; many repeats",
        ordered=True,
        held_out=0.3,
        max_users=5000,
    ),
    StudySet(
        name="steam-200k",
        dataset="steam-200k",
        about="games bought or played",
        ordered=False,
        held_out=0.3,
        max_users=5000,
    ),
    StudySet(
        name="foursquare-nyc",
        dataset="foursquare-nyc",
        about="places, check-ins; many repeats",
        ordered=True,
        held_out=0.3,
    ),
    StudySet(
        name="anime-5k",
        dataset="anime-5k",
        about="anime watched or rated",
        ordered=False,
        held_out=0.3,
        max_users=800,
    ),
    StudySet(name="ml-1m", dataset="ml-1m", about="films rated", ordered=True, held_out=0.3, max_users=800),
    StudySet(
        name="ml-1m-time",
        dataset="ml-1m",
        about="films rated, cut at a global time",
        ordered=True,
        clock=True,
        max_users=1500,
    ),
    StudySet(
        name="amazon-beauty", dataset="amazon-beauty", about="shopping, reviews", ordered=True, max_users=6000
    ),
    StudySet(
        name="amazon-cross-sport-phone",
        dataset="amazon-cross-sport-phone",
        about="shopping in two domains, reviews",
        ordered=False,
        max_users=1500,
    ),
)
"""Smallest first, so that an interrupted study has whole sets. The caps fit two cores; ``max_users=0`` lifts
them."""

QUICK = ("coat", "lastfm-s3rec", "movielens-100k")
"""The sets of the check before a release."""


def study_sets(names: Sequence[str]) -> list[StudySet]:
    """The sets of the given names, in that order.

    Raises:
        UnknownIdError: there is no set of that name.
    """
    known = {each.name: each for each in SETS}
    for name in names:
        if name not in known:
            raise UnknownIdError(f"there is no set {name!r} in the study; there are {list(known)}")
    return [known[name] for name in names]
