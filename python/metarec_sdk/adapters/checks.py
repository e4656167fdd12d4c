"""What every meta-learner checks of its arguments."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from metarec_sdk.errors import ArgumentError, MissingDependencyError
from metarec_sdk.types import Episodes, Memberships


def require_torch(purpose: str) -> None:
    """Raise `MissingDependencyError` where torch isn't installed."""
    if find_spec("torch") is None:
        raise MissingDependencyError.extra("torch", "torch", purpose, "meta_learner='none'")


def check_counts(**counts: int) -> None:
    """Raise `ArgumentError` for a count below 1."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ArgumentError(f"{name} must be an integer ≥ 1, got {count!r}")


def checked_episodes(
    episodes: Episodes, memberships: Memberships, n_tasks: int, most: int, rng: np.random.Generator
) -> tuple[Episodes, Memberships]:
    """At most so many of the episodes, in their order; `ArgumentError` where memberships don't fit."""
    if len(episodes) != len(memberships):
        raise ArgumentError(
            f"memberships must have one row an episode, got {len(memberships)} for {len(episodes)} episodes"
        )
    tasks = memberships.tasks
    if tasks.size and (tasks.min() < -1 or tasks.max() >= max(n_tasks, 0)):
        raise ArgumentError(
            f"memberships name tasks {tasks.min()} … {tasks.max()}, but n_tasks={n_tasks} allows -1 … "
            f"{n_tasks - 1}"
        )
    if len(episodes) <= most:
        return episodes, memberships
    rows = np.sort(rng.choice(len(episodes), most, replace=False))
    return episodes.take(rows), memberships.take(rows)
