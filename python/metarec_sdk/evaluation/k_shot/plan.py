"""What is run, and the name of every piece of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

import metarec_sdk
from metarec_sdk.data import Interactions
from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.baselines import CONTESTANTS, Contestant
from metarec_sdk.evaluation.k_shot.sets import StudySet
from metarec_sdk.evaluation.k_shot.variants import VARIANTS
from metarec_sdk.evaluation.scores import RECOMMENDER
from metarec_sdk.recommender import Recommender

SCHEMA = 2
"""Version of what a cell's file holds."""

_BASELINE_CODE = ("data", "evaluation/baselines", "heads", "ranking")
_STACK_CODE = (
    *("adapters", "backbones", "data", "feedback", "heads", "plugins", "ranking", "recommender", "tasks"),
    "updating",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The contenders and how hard each is tried."""

    ks: tuple[int, ...] = (0, 1, 3, 5, 10, 20)
    """Support sizes; those that too few users of a set reach are left out there."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of what is trained by SGD."""
    budget: int = 6
    """Settings tried on validation for each baseline, at each k and order."""
    variants: tuple[str, ...] = ()
    """Names in `VARIANTS` that run beside the default stack."""
    max_users: int | None = None
    """Replaces the caps of the sets; 0 lifts them."""
    own_order: bool = False
    """Judge a set with an order in it alone, not shuffled as well: half of its fits."""
    n_draws: int = 10_000
    """Bootstrap resamples: with fewer, a corrected p-value couldn't get small."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ArgumentError(f"seeds must be different integers, at least one, got {list(self.seeds)}")
        unknown = [name for name in self.variants if name not in VARIANTS]
        if unknown:
            raise ArgumentError(f"there is no variant {unknown[0]!r}; there are {list(VARIANTS)[1:]}")
        if self.max_users is not None and self.max_users < 0:
            raise ArgumentError(f"max_users must be ≥ 0, got {self.max_users}")


@dataclass(frozen=True, slots=True)
class Job:
    """One fit of one contender, ranked in all cases of a set: what one file of results holds."""

    contender: str
    """A name in `VARIANTS` or of a baseline."""
    seed: int
    key: str
    """SHA-256, hexadecimal, of everything that the result depends on."""
    contestant: Contestant | None
    """The baseline; None for the stack and its variants."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of `Recommender`, for the stack and its variants."""
    users: pl.DataFrame | None = None
    """The users' table, for a variant that is told of tasks."""
    items: pl.DataFrame | None = None
    """The items' table, for a variant that is told of content."""
    target_only: bool = False
    """Whether the events of other domains are left out of training."""
    order: str | None = None
    """The one order whose cases are ranked; None for all."""

    def path(self, folder: Path, set_name: str) -> Path:
        """Where the result lies."""
        name = "-".join(self.contender.split() + ([] if self.order is None else [self.order]))
        return folder / "cells" / set_name / f"{name}-{self.seed}-{self.key[:16]}.json"

    def recommender(self) -> Recommender:
        """The unfitted stack."""
        return Recommender(**self.arguments, seed=self.seed, progress=False)


def jobs(
    plan: Plan, study_set: StudySet, log: Interactions, prepared_hash: str, refused: Mapping[str, str]
) -> list[Job]:
    """The jobs of one set, those that train longest first; baselines run with the first seed only, as in
    `evaluate`; the stack is fitted for each order. Variants that the set has nothing for are left out."""
    found = []
    stack_code, baseline_code = code_fingerprint(_STACK_CODE), code_fingerprint(_BASELINE_CODE)
    for name in (RECOMMENDER, *plan.variants):
        variant = VARIANTS[name]
        if not variant.applies(study_set):
            continue
        users = variant.table(study_set, log)
        items = study_set.items() if variant.content else None
        given = {} if variant.content and users is None else variant.arguments
        told = [None if table is None else _digest(table) for table in (users, items)]
        # Baselines are tuned for each order, so the stack is told of it: nothing in rows says that they were
        # shuffled, or that people to come will have no order.
        for order in study_set.orders[: 1 if plan.own_order else None]:
            arguments = {**given, "order": "time" if order == "time" else "none"}
            only = order if len(study_set.orders) > 1 else None
            for seed in plan.seeds:
                key = _key(prepared_hash, stack_code, name, seed, arguments, told, variant.target_only, only)
                job = Job(name, seed, key, None, arguments, users, items, variant.target_only, only)
                found.append(job)
    for contestant in CONTESTANTS:
        if contestant.name not in refused:
            grid = [dict(settings) for settings in contestant.grid[: plan.budget]]
            key = _key(prepared_hash, baseline_code, contestant.name, plan.seeds[0], grid)
            found.append(Job(contestant.name, plan.seeds[0], key, contestant))
    return found


def code_fingerprint(parts: Sequence[str]) -> str:
    """SHA-256 of Python sources of the package: a result is reused only by the code that made it."""
    root = Path(metarec_sdk.__file__).parent
    digest = hashlib.sha256(metarec_sdk.__version__.encode())
    for path in sorted(path for part in parts for path in (root / part).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _digest(table: pl.DataFrame) -> str:
    """SHA-256, hexadecimal, of the rows."""
    return hashlib.sha256(table.write_ndjson().encode()).hexdigest()


def _key(*content: Any) -> str:
    return hashlib.sha256(json.dumps([SCHEMA, *content], sort_keys=True).encode()).hexdigest()
