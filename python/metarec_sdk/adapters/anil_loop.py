"""The rounds of ANIL on a diagonal adapter, batched over tasks."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from metarec_sdk.adapters.early_stopping import Adam
from metarec_sdk.adapters.hierarchical_map import Learned
from metarec_sdk.adapters.primary_losses import primary_losses
from metarec_sdk.adapters.reptile_loop import ReptileLoop
from metarec_sdk.adapters.sites import Tensors
from metarec_sdk.types import Progress


@dataclass
class Diagonal:
    """``W x + U (c ⊙ V x)`` at every site: what the rounds learn."""

    u: Tensors
    """f[d_out, r], in units of the site's step."""
    v: Tensors
    """f[r, d_in]."""
    c: Tensors
    """f[r], where every task's coefficients start."""
    log_rate: Tensors
    """f[r], log of each coefficient's inner step."""

    def tensors(self) -> list[torch.Tensor]:
        """All of them, for an optimiser."""
        return [value for part in (self.u, self.v, self.c, self.log_rate) for value in part.values()]


@dataclass
class AnilLoop(ReptileLoop):
    """Rounds in which only the coefficients c of a task adapt; U, V, their start and steps are learned."""

    diagonal: Diagonal = field(init=False)

    def start(self, learned: Learned) -> Diagonal:
        """U = B_0, c = 1: no change to begin with where the parent is 0."""
        return Diagonal(
            {site: up[-1] / learned.step[site] for site, up in learned.up.items()},
            {site: down.clone() for site, down in learned.down.items()},
            {site: down.new_ones(len(down)) for site, down in learned.down.items()},
            {site: down.new_full((len(down),), self.inner_rate).log() for site, down in learned.down.items()},
        )

    def ups(self, learned: Learned, diagonal: Diagonal, c: Tensors) -> Tensors:
        """site -> B f[n, d_out, r], U diag(c), from coefficients f[n, r]."""
        return {site: learned.step[site] * diagonal.u[site] * c[site][:, None, :] for site in c}

    def adapted(
        self, learned: Learned, diagonal: Diagonal, draws: list[torch.Tensor], *, create_graph: bool
    ) -> Tensors:
        """site -> c f[C + 1, r] after one step a draw."""
        n = self.problem.n_tasks + 1
        c = {site: value.expand(n, -1) for site, value in diagonal.c.items()}
        for rows in draws:
            leaves = {
                site: value if create_graph else value.detach().requires_grad_() for site, value in c.items()
            }
            losses = primary_losses(self.problem, rows, diagonal.v, self.ups(learned, diagonal, leaves))
            gradients = torch.autograd.grad(
                losses.sum() / self.batch, list(leaves.values()), create_graph=create_graph
            )
            c = {
                site: value - diagonal.log_rate[site].exp() * gradient
                for (site, value), gradient in zip(leaves.items(), gradients)
            }
        return c

    def outer_loss(
        self, learned: Learned, diagonal: Diagonal, draws: list[torch.Tensor], query: torch.Tensor
    ) -> torch.Tensor:
        """The mean over drawn episodes of the loss after adaptation, exact to second order."""
        c = self.adapted(learned, diagonal, draws, create_graph=True)
        return primary_losses(self.problem, query, diagonal.v, self.ups(learned, diagonal, c)).mean()

    def parent(self, learned: Learned, progress: Progress) -> Tensors:
        """U diag(c) f[1, d_out, r] by site after all rounds of Adam; puts V in the place of A."""
        diagonal = self.start(learned)
        tensors = diagonal.tensors()
        optimiser = Adam(tensors, self.outer_rate)
        for round_ in range(self.rounds):
            for value in tensors:
                value.requires_grad_(True)
            draws = [self.draw() for _ in range(self.inner_steps)]
            gradients = torch.autograd.grad(
                self.outer_loss(learned, diagonal, draws, self.draw()), tensors, allow_unused=True
            )
            for value in tensors:
                value.requires_grad_(False)
            optimiser.rate = self.outer_rate * (1 - round_ / self.rounds)
            optimiser.step(gradients)
            progress(round_ + 1, self.rounds, "learning adapters")
        self.diagonal = diagonal
        learned.down = dict(diagonal.v)
        return self.ups(learned, diagonal, {site: value[None] for site, value in diagonal.c.items()})

    def tasks(self, learned: Learned, parent: Tensors) -> Tensors:
        """B f[C + 1, d_out, r] by site: every task's shrunk move of its coefficients, the parent unmoved."""
        draws = [self.draw() for _ in range(self.final_rounds * self.inner_steps)]
        c = self.adapted(learned, self.diagonal, draws, create_graph=False)
        kept = self.kept_share()[:, None]
        moved = {site: start + kept * (c[site].detach() - start) for site, start in self.diagonal.c.items()}
        return {site: up.detach() for site, up in self.ups(learned, self.diagonal, moved).items()}
