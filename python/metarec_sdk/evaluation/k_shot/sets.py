"""Which data sets are in the study, and how each is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from metarec_sdk.data import Interactions, datasets
from metarec_sdk.data.interactions import REQUIRED
from metarec_sdk.errors import DataError, UnknownIdError
from metarec_sdk.evaluation.k_shot.domains import apart, twins
from metarec_sdk.evaluation.protocols import ColdStart, CrossDomain

TASK = "task"
"""Column of the users' tables of known tasks."""

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
    known: tuple[str, ...] = ()
    """Columns of the users' table whose values together are a person's known task."""
    content: tuple[str, ...] = ()
    """Columns of the items' table that tell what an item is, not what people made of it."""
    domains: tuple[str, str] | None = None
    """Two domains that share their people; items of the second that are one of the first's are left out, see
    `metarec_sdk.evaluation.k_shot.domains.twins`."""
    view: Literal["together", "apart", "transfer"] = "together"
    """Of two domains: one catalogue; everybody as a person of each domain, which is the known task; or the
    second ranked from events in the first."""

    @property
    def orders(self) -> tuple[Literal["time", "random"], ...]:
        """The orders judged."""
        return ("time", "random") if self.ordered else ("random",)

    @property
    def has_tasks(self) -> bool:
        """Whether there are known tasks."""
        return bool(self.known) or self.view == "apart"

    def items(self) -> pl.DataFrame:
        """``item_id`` and the columns of `content`."""
        table = datasets.load(self.dataset).items
        if table is None:
            raise DataError(f"{self.dataset} has no items.parquet, which {self.name} takes its content from")
        return table.select("item_id", *self.content)

    def tasks(self, log: Interactions) -> pl.DataFrame:
        """``user_id`` and `TASK` of everybody in a log of the set; null where a column is."""
        users = pl.DataFrame({"user_id": log.frame["user_id"].unique().sort()})
        if self.view == "apart":
            return users.with_columns(pl.col("user_id").str.split("@").list.last().alias(TASK))
        table = datasets.load(self.dataset).users
        if table is None:
            raise DataError(f"{self.dataset} has no users.parquet, which {self.name} takes its tasks from")
        columns = [pl.col(name).cast(pl.String) for name in self.known]
        labels = table.select("user_id", pl.concat_str(columns, separator=", ").alias(TASK))
        return users.join(labels.unique("user_id"), on="user_id", how="left", maintain_order="left")

    def protocol(self, ks: tuple[int, ...]) -> ColdStart | CrossDomain:
        """How the log is cut."""
        if self.domains is not None and self.view == "transfer":
            source, target = self.domains
            # People are few and their targets many: more of them are worth more than a long support.
            return CrossDomain(source=source, target=target, ks=ks, held_out=self.held_out, min_users=400)
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
        if self.domains is not None:
            log = log.filter(~pl.col("item_id").is_in(twins(log.frame, self.domains)))
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
        if self.view == "apart":
            frame = apart(frame)
        return _renumbered(log, frame[rng.permutation(frame.height)])


def _renumbered(log: Interactions, frame: pl.DataFrame) -> Interactions:
    """A log without times whose events are in the order of the frame's rows."""
    rows = pl.Series(np.arange(frame.height, dtype=np.int64))
    return Interactions(frame.with_columns(timestamp=rows, row=rows), has_time=False)


_FILM = ("title", "year", "genres", "directors", "writers", "actors", "plot")

SETS: tuple[StudySet, ...] = (
    StudySet(
        name="coat",
        dataset="coat",
        about="clothes, self-chosen ratings",
        ordered=False,
        held_out=0.35,
        only=("split", "train"),
        known=("gender",),
        content=("gender", "jackettype", "color"),
    ),
    StudySet(
        name="lastfm-s3rec",
        dataset="lastfm-s3rec",
        about="music, artists tagged",
        ordered=True,
        held_out=0.35,
    ),
    StudySet(
        name="movielens-100k",
        dataset="movielens-100k",
        about="films rated",
        ordered=True,
        held_out=0.35,
        content=("title", "year", "genres"),
    ),
    StudySet(
        name="movielens-100k-shuffled",
        dataset="movielens-100k",
        about="films rated, without their order in training too",
        ordered=False,
        held_out=0.35,
        content=("title", "year", "genres"),
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
        content=("title", "genres", "type", "episodes"),
    ),
    StudySet(
        name="ml-1m",
        dataset="ml-1m",
        about="films rated",
        ordered=True,
        held_out=0.3,
        max_users=800,
        known=("gender", "age_label"),
        content=_FILM,
    ),
    StudySet(
        name="ml-1m-time",
        dataset="ml-1m",
        about="films rated, cut at a global time",
        ordered=True,
        clock=True,
        max_users=1500,
        known=("gender", "age_label"),
        content=_FILM,
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
        domains=("sport", "phone"),
    ),
    StudySet(
        name="amazon-apart-sport-phone",
        dataset="amazon-cross-sport-phone",
        about="shopping in two domains, reviews; everybody as two people, one for each domain",
        ordered=False,
        max_users=1500,
        domains=("sport", "phone"),
        view="apart",
    ),
    *(
        StudySet(
            name=f"transfer-{source}-{target}",
            dataset=dataset,
            about=f"shopping: {target} ranked from reviews in {source}",
            ordered=False,
            held_out=0.3,
            max_users=2500,
            domains=(source, target),
            view="transfer",
        )
        for source, target, dataset in (
            ("sport", "phone", "amazon-cross-sport-phone"),
            ("phone", "sport", "amazon-cross-sport-phone"),
            ("sport", "cloth", "amazon-cross-sport-cloth"),
        )
    ),
)
"""Smallest first, so that an interrupted study has whole sets. The caps fit two cores; ``max_users=0`` lifts
them."""

QUICK = ("movielens-100k", "movielens-100k-shuffled")
"""The sets of the check before a release: one with an order, one without, both fetched by name."""


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
