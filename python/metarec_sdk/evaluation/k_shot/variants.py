"""What may be left out of the default stack or exchanged in it, each a contender beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl

from metarec_sdk.data import Interactions
from metarec_sdk.evaluation.k_shot.sets import SAMPLE_SEED, TASK, StudySet
from metarec_sdk.evaluation.scores import RECOMMENDER

VARIANT = "variant: "
"""Prefix of their method names in reports."""

N_TASKS = 8
"""Tasks where they are found or drawn."""

_SERVED = {"min_tasks": 2, "min_task_size": 10}
"""Tasks are served whether or not one would do as well: the guard would make every variant the default."""
_MEANS = {"prove_tasks": False, "learn_adapters": False}


@dataclass(frozen=True)
class Variant:
    """One way to build and train the stack."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of `Recommender`."""
    tasks: Literal["known", "shuffled", "random"] | None = None
    """What the users' table says of everybody's task: the truth, the same labels among people by chance, or
    one of `N_TASKS` by chance; None for no table."""
    content: bool = False
    """Whether the items' table is there, and the users' table where the set has one."""
    target_only: bool = False
    """Whether only the target domain is trained on."""

    def applies(self, study_set: StudySet) -> bool:
        """Whether the set has what the variant needs."""
        if self.target_only:
            return study_set.view == "transfer"
        if self.content:
            return bool(study_set.content)
        return self.tasks not in ("known", "shuffled") or study_set.has_tasks

    def table(self, study_set: StudySet, log: Interactions) -> pl.DataFrame | None:
        """``user_id`` and `TASK`, from nobody's events; None without tasks."""
        if self.tasks is None or (self.content and not study_set.has_tasks):
            return None
        rng = np.random.default_rng(SAMPLE_SEED)
        if self.tasks == "random":
            users = log.frame["user_id"].unique().sort()
            drawn = rng.integers(N_TASKS, size=len(users))
            return pl.DataFrame({"user_id": users, TASK: drawn}).with_columns(pl.col(TASK).cast(pl.String))
        known = study_set.tasks(log)
        if self.tasks == "known":
            return known
        return known.with_columns(known[TASK].gather(rng.permutation(known.height)))


def _tasks_of(clusterer: Mapping[str, Any], meta_learner: Mapping[str, Any]) -> dict[str, Any]:
    name = "column" if "column" in clusterer else "kmeans"
    return _SERVED | {
        "clusterer": name,
        "params": {"clusterer": dict(clusterer), "meta_learner": dict(meta_learner)},
    }


_FOUND, _COLUMN, _ALL = {"n_tasks": N_TASKS}, {"column": TASK}, {"prove_tasks": False}

_LONG = {"epochs": 40, "patience": 10}
"""Of a backbone that is trained until it no longer gets better."""

VARIANTS: dict[str, Variant] = {
    RECOMMENDER: Variant(),
    "no outer loop": Variant({"meta_learner": "none"}),
    "one task": Variant({"clusterer": "none"}),
    "found tasks": Variant(_tasks_of(_FOUND, _ALL)),
    "random tasks": Variant(_tasks_of(_COLUMN, _ALL), tasks="random"),
    "found means only": Variant(_tasks_of(_FOUND, _MEANS)),
    "known tasks": Variant(_tasks_of(_COLUMN, _ALL), tasks="known"),
    "shuffled known tasks": Variant(_tasks_of(_COLUMN, _ALL), tasks="shuffled"),
    "known means only": Variant(_tasks_of(_COLUMN, _MEANS), tasks="known"),
    "guarded known tasks": Variant({"clusterer": "column", "params": {"clusterer": _COLUMN}}, tasks="known"),
    "content": Variant(
        {"clusterer": "column", "params": {"clusterer": _COLUMN}}, tasks="known", content=True
    ),
    "factors backbone": Variant({"backbone": "factors"}),
    "long training": Variant({"params": {"backbone": _LONG}}),
    "long training on sets": Variant({"params": {"backbone": {**_LONG, "target": "set"}}}),
    "long histories": Variant({"params": {"backbone": {"history_limit": 200}}}),
    "target domain only": Variant(target_only=True),
}
"""The default stack, and what runs beside it."""

CONTRASTS: tuple[tuple[str, str], ...] = (
    *((name, RECOMMENDER) for name in list(VARIANTS)[1:]),
    ("found tasks", "one task"),
    ("found tasks", "random tasks"),
    ("found tasks", "found means only"),
    ("known tasks", "one task"),
    ("known tasks", "shuffled known tasks"),
    ("known tasks", "known means only"),
)
"""Pairs that are compared, where both have run."""


def method_of(contender: str) -> str:
    """Name of the stack or of a variant in reports."""
    return contender if contender == RECOMMENDER else f"{VARIANT}{contender}"
