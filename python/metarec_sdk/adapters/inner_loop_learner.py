"""What the meta-learners share that adapt every task by a few SGD steps from a common parent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.adapters.checks import check_counts, checked_episodes, require_torch
from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import (
    Backbone,
    Episodes,
    Head,
    Memberships,
    MetaFit,
    Progress,
    State,
    no_progress,
)

if TYPE_CHECKING:
    from metarec_sdk.adapters.adapter_problem import AdapterProblem
    from metarec_sdk.adapters.reptile_loop import ReptileLoop


class InnerLoopLearner:
    """Adapters by an inner loop per task and an outer loop over the parent; the head is left as it is.

    Tasks are the episodes' primary tasks; users without one form a task of their own for the rounds. At the
    end each task takes ``final_rounds · inner_steps`` steps from the parent and keeps ``n_c / (n_c + κ₀)`` of
    its move: a task without users stays at the parent. The parent and then the tasks ship only where
    validation confirms them by more than one standard error over users.
    """

    name = ""
    """For messages."""
    default_inner_rate = 0.5
    default_outer_rate = 1.0

    def __init__(
        self,
        *,
        rank: int = 8,
        rounds: int = 60,
        inner_steps: int = 4,
        batch: int = 32,
        inner_rate: float | None = None,
        outer_rate: float | None = None,
        final_rounds: int = 4,
        shrinkage: float = 20.0,
        max_episodes: int = 20_000,
        max_validation: int = 2_000,
    ) -> None:
        """rank: r. rounds, inner_steps: of the outer and inner loop. batch: episodes of a task in a step.

        inner_rate: of SGD, in units in which a step's expected change of a loss is of order one.
        outer_rate: of the outer step, at the start. None: what suits the method. shrinkage: κ₀, users.
        max_episodes, max_validation: more than these are sampled.
        """
        check_counts(
            rank=rank, rounds=rounds, inner_steps=inner_steps, batch=batch, final_rounds=final_rounds
        )
        check_counts(max_episodes=max_episodes, max_validation=max_validation)
        inner_rate = self.default_inner_rate if inner_rate is None else inner_rate
        outer_rate = self.default_outer_rate if outer_rate is None else outer_rate
        if not inner_rate > 0 or not 0 < outer_rate <= 1 or not shrinkage >= 0:
            raise ArgumentError(
                f"need inner_rate > 0, 0 < outer_rate ≤ 1 and shrinkage ≥ 0, got {inner_rate}, {outer_rate} "
                f"and {shrinkage}"
            )
        self.rank, self.rounds, self.inner_steps, self.batch = rank, rounds, inner_steps, batch
        self.inner_rate, self.outer_rate = inner_rate, outer_rate
        self.final_rounds, self.shrinkage = final_rounds, shrinkage
        self.max_episodes, self.max_validation = max_episodes, max_validation

    def fit(
        self,
        episodes: Episodes,
        memberships: Memberships,
        *,
        n_tasks: int,
        backbone: Backbone,
        head: Head,
        validation: tuple[Episodes, Memberships],
        rng: np.random.Generator,
        start: MetaFit | None = None,
        progress: Progress = no_progress,
    ) -> MetaFit:
        """Learn adapters from episodes; ``start`` gives A and B_0. `MetaFit.head` stays empty.

        Raises `ArgumentError` where episodes and memberships disagree, `MissingDependencyError` without
        torch.
        """
        require_torch(self.name)
        import torch

        from metarec_sdk.adapters.adapter_problem import AdapterProblem
        from metarec_sdk.adapters.reptile_loop import learn_by_rounds

        training = checked_episodes(episodes, memberships, n_tasks, self.max_episodes, rng)
        judged = checked_episodes(*validation, n_tasks, self.max_validation, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        problem = AdapterProblem.build(backbone, n_tasks, training, judged, generator)
        if problem is None:
            return MetaFit(adapters={}, head={}, structure=[], losses={})
        adapters, structure, losses = learn_by_rounds(
            self.loop(problem),
            rank=self.rank,
            start={} if start is None else start.adapters,
            progress=progress,
        )
        return MetaFit(adapters=adapters, head={}, structure=structure, losses=losses)

    def loop(self, problem: AdapterProblem) -> ReptileLoop:
        """The rounds on a problem."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """What every kind of rounds takes."""
        return {
            "rounds": self.rounds,
            "inner_steps": self.inner_steps,
            "batch": self.batch,
            "inner_rate": self.inner_rate,
            "outer_rate": self.outer_rate,
            "final_rounds": self.final_rounds,
            "shrinkage": self.shrinkage,
        }

    def state(self) -> State:
        """Nothing: what a fit learned is in its `MetaFit`."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Nothing to take back."""
