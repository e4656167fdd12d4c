"""The loops of Reptile, batched over tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from metarec_sdk.adapters.adapter_learning import continued, structure
from metarec_sdk.adapters.adapter_problem import AdapterProblem
from metarec_sdk.adapters.evidence import SiteEvidence
from metarec_sdk.adapters.hierarchical_map import Learned, prune, starting_point
from metarec_sdk.adapters.primary_losses import primary_losses
from metarec_sdk.adapters.sites import Tensors
from metarec_sdk.adapters.task_adapter import TaskAdapters
from metarec_sdk.types import Progress, State


@dataclass
class ReptileLoop:
    """Inner and outer steps on one problem; see `metarec_sdk.adapters.reptile.Reptile` for the arguments."""

    problem: AdapterProblem
    rounds: int
    inner_steps: int
    batch: int
    inner_rate: float
    outer_rate: float
    final_rounds: int
    shrinkage: float

    def __post_init__(self) -> None:
        drawn = self.problem.training
        primary = drawn.rows[:, 0]
        self.by_task = torch.argsort(primary, stable=True)  # episodes, task by task, those without one last
        self.counts = torch.bincount(primary, minlength=self.problem.n_tasks + 1)
        self.starts = torch.cumsum(self.counts, 0) - self.counts
        users = torch.zeros(self.problem.n_tasks + 1, dtype=drawn.share.dtype)
        self.users = users.index_add_(0, primary, drawn.share)
        """f[C + 1], users of each task."""

    def draw(self) -> torch.Tensor:
        """i64[C' · batch], episodes of each inhabited task in turn, drawn with replacement."""
        inhabited = self.counts.nonzero()[:, 0]
        uniform = torch.rand(
            len(inhabited), self.batch, generator=self.problem.generator, dtype=torch.float64
        )
        place = (uniform * self.counts[inhabited, None]).long()
        return self.by_task[self.starts[inhabited, None] + place].reshape(-1)

    def inner(self, learned: Learned, fast: Tensors, rows: torch.Tensor) -> None:
        """One SGD step of every task on its own episodes, in place.

        fast: site -> f[C + 1, d_out, r]. The loss is the sum over tasks of the mean over their episodes, so
        each task's gradient is that of its own loss; a task without episodes has none.
        """
        sites = list(fast)
        leaves = [fast[site].requires_grad_(True) for site in sites]
        losses = primary_losses(self.problem, rows, learned.down, fast)
        gradients = torch.autograd.grad(losses.sum() / self.batch, leaves)
        with torch.no_grad():
            for site, leaf, gradient in zip(sites, leaves, gradients):
                leaf.requires_grad_(False)
                leaf -= self.inner_rate * learned.step[site] ** 2 * gradient

    def parent(self, learned: Learned, progress: Progress) -> Tensors:
        """B_0 f[1, d_out, r] by site after all rounds."""
        inhabited = (self.counts > 0).nonzero()[:, 0]
        parent = {site: up[-1:].clone() for site, up in learned.up.items()}
        for round_ in range(self.rounds):
            fast = self.spread(parent)
            for _ in range(self.inner_steps):
                self.inner(learned, fast, self.draw())
            rate = self.outer_rate * (1 - round_ / self.rounds)
            for site in parent:
                parent[site] += rate * (fast[site][inhabited].mean(0, keepdim=True) - parent[site])
            progress(round_ + 1, self.rounds, "learning adapters")
        return parent

    def tasks(self, learned: Learned, parent: Tensors) -> Tensors:
        """B f[C + 1, d_out, r] by site: every task's shrunk move from B_0, the parent last and unmoved."""
        fast = self.spread(parent)
        for _ in range(self.final_rounds * self.inner_steps):
            self.inner(learned, fast, self.draw())
        kept = self.kept_share()
        return {site: parent[site] + kept[:, None, None] * (fast[site] - parent[site]) for site in parent}

    def kept_share(self) -> torch.Tensor:
        """f[C + 1], ``n_c / (n_c + κ₀)``, how much of its move each task keeps; 0 for the parent."""
        kept = self.users / (self.users + self.shrinkage).clamp(min=1e-12)
        kept[-1] = 0.0
        return kept

    def spread(self, parent: Tensors) -> Tensors:
        """Every task at B_0."""
        n = self.problem.n_tasks + 1
        return {site: value.expand(n, -1, -1).clone() for site, value in parent.items()}


def learn_by_rounds(
    loop: ReptileLoop, *, rank: int, start: State, progress: Progress
) -> tuple[State, list[dict[str, Any]], dict[str, float]]:
    """(adapter arrays or {}, structure rows, losses), as `adapter_learning.learn_adapters` gives them."""
    problem = loop.problem
    best = problem.judged({}, {})
    losses = {"adapters/before": best.loss}
    learned = continued(problem, rank, start) if start else starting_point(problem, rank)
    parent = loop.parent(learned, progress)
    candidates = {"adapters/parent": loop.spread(parent)}
    if problem.n_tasks > 1:
        candidates["adapters/tasks"] = loop.tasks(learned, parent)
    chosen: str | None = None
    for name, up in candidates.items():
        after = problem.judged(learned.down, up)
        losses[name] = after.loss
        if after.earns_its_place(best):
            best, chosen, learned.up = after, name, up
    losses["adapters/after"] = best.loss
    if chosen is None:
        return {}, structure(problem, replace(learned, down={}, up={})), losses
    if chosen == "adapters/tasks":
        learned.evidence = {site: _moved(up) for site, up in learned.up.items()}
    prune(learned)
    down = {site: value.numpy() for site, value in learned.down.items()}
    up_arrays = {site: value.numpy() for site, value in learned.up.items()}
    return TaskAdapters(down, up_arrays).state(), structure(problem, learned), losses


def _moved(up: torch.Tensor) -> SiteEvidence:
    """The directions in which each task left the parent, and how far."""
    apart = up[:-1] - up[-1]
    spread = apart.square().mean((0, 1))
    return SiteEvidence(spread, apart.abs().amax(1) > 0, torch.zeros_like(apart))
