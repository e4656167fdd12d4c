"""The default meta-learner: backpropagation through closed-form heads, adapters by hierarchical MAP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

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


class ClosedForm:
    """Learns a head's tables and prior and the backbone's task adapters on episodes.

    *Head* (natpar or ridge, by the names of its arrays; another head is left alone). The user's vector is
    computed in closed form from the support and the cross-entropy of the query over the catalogue is
    backpropagated into what the closed form is made of (R2D2, Bertinetto et al., ICLR 2019). natpar: item
    tables ψ_in and ψ_out and the prior variance of each bin of κ; ridge: Λ and α₀. Then the prior means μ_c,
    each task's own shrunk towards everybody's, see `metarec_sdk.adapters.task_means`.

    *Adapters* ``B_c`` around a frozen backbone, see `metarec_sdk.adapters.hierarchical_map`; where a task has
    earned none, it is served by the parent, and sites and ranks without evidence are left out.

    A part ships only if it raises NDCG@10 on validation by more than one standard error over users and lowers
    the loss; otherwise it is left out of the `MetaFit`, whose losses tell why.

    `MetaFit.head` holds what `Head.restore` puts over the head's arrays, each only where it was learned:
    ``psi_in``, ``psi_out`` f32[n, m] and ``prior_variance`` f32[bins, m] of natpar, ``precision`` f32[m] and
    ``unobserved_weight`` f32[1] of ridge, ``prior_mean`` f32[C + 1, m] of both, the parent's row last.
    """

    def __init__(
        self,
        *,
        rank: int = 8,
        tables: Literal["untied", "tied", "rotation", "fixed"] = "untied",
        learn_head: bool = True,
        learn_adapters: bool = True,
        prove_tasks: bool = True,
        epochs: int = 15,
        batch: int = 256,
        head_rate: float = 0.005,
        adapter_rate: float = 0.01,
        patience: int = 2,
        max_episodes: int = 20_000,
        max_validation: int = 2_000,
    ) -> None:
        """rank: r of the adapters. tables: what of natpar's item tables is learned: one for the history and
        one for the ranked item, one for both, only an m × m map of each, or nothing. prove_tasks: False
        ships what is learned of tasks, prior means and adapters, whatever validation says of it. head_rate,
        adapter_rate: Adam's. patience: epochs without progress on validation. max_episodes, max_validation:
        more than these are sampled, to bound the time.
        """
        check_counts(rank=rank, epochs=epochs, batch=batch, patience=patience)
        check_counts(max_episodes=max_episodes, max_validation=max_validation)
        if tables not in ("untied", "tied", "rotation", "fixed"):
            raise ArgumentError(f"tables must be untied, tied, rotation or fixed, got {tables!r}")
        for name, rate in (("head_rate", head_rate), ("adapter_rate", adapter_rate)):
            if not 0 < rate <= 1:
                raise ArgumentError(f"{name} must be above 0 and at most 1, got {rate!r}")
        self.rank, self.tables = rank, tables
        self.learn_head, self.learn_adapters = learn_head, learn_adapters
        self.prove_tasks = prove_tasks
        self.epochs, self.batch, self.patience = epochs, batch, patience
        self.head_rate, self.adapter_rate = head_rate, adapter_rate
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
        """Learn from episodes whose supports have the lengths that will be served (0 to 20 and more).

        Memberships must come from the supports alone: nothing of the query may choose its task. ``n_tasks``
        ≤ 1 learns for everybody together. start: keeps the head's tables and prior as that fit learned them,
        and continues from its A and B_0. The same rng, episodes and thread count give the same bytes.

        Raises `ArgumentError` where episodes and memberships disagree, `MissingDependencyError` without
        torch.
        """
        require_torch("the closed-form meta-learner")
        import torch

        from metarec_sdk.adapters.adapter_learning import learn_adapters
        from metarec_sdk.adapters.adapter_problem import AdapterProblem
        from metarec_sdk.adapters.early_stopping import Schedule
        from metarec_sdk.adapters.head_learning import learn_head

        training = checked_episodes(episodes, memberships, n_tasks, self.max_episodes, rng)
        judged = checked_episodes(*validation, n_tasks, self.max_validation, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        found = MetaFit(adapters={}, head={}, structure=[], losses={})
        if self.learn_head:
            state, losses = learn_head(
                head,
                n_tasks,
                training,
                judged,
                tables=self.tables,
                prove_tasks=self.prove_tasks,
                schedule=Schedule(self.epochs, self.batch, self.head_rate, self.patience),
                earlier={} if start is None else start.head,
                generator=generator,
                tick=lambda done, total: progress(done, total, "learning the head"),
            )
            found.head.update(state)
            found.losses.update(losses)
        if self.learn_adapters:
            problem = AdapterProblem.build(backbone, n_tasks, training, judged, generator)
            if problem is not None:
                adapters, structure, losses = learn_adapters(
                    problem,
                    rank=self.rank,
                    prove_tasks=self.prove_tasks,
                    schedule=Schedule(self.epochs, self.batch, self.adapter_rate, self.patience),
                    start={} if start is None else start.adapters,
                    tick=lambda done, total, message: progress(done, total, f"learning the {message}"),
                )
                found.adapters.update(adapters)
                found.structure.extend(structure)
                found.losses.update(losses)
        return found

    def state(self) -> State:
        """Nothing: what a fit learned is in its `MetaFit`."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Nothing to take back."""
