"""The rounds of MAML and of its first-order form, batched over tasks."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from metarec_sdk.adapters.early_stopping import Adam
from metarec_sdk.adapters.hierarchical_map import Learned
from metarec_sdk.adapters.primary_losses import primary_losses
from metarec_sdk.adapters.reptile_loop import ReptileLoop
from metarec_sdk.adapters.sites import Tensors
from metarec_sdk.types import Progress


@dataclass
class MetaGradientLoop(ReptileLoop):
    """Rounds in which the parent moves against the loss after adaptation."""

    second_order: bool = True

    def adapted(self, learned: Learned, parent: Tensors, draws: list[torch.Tensor]) -> Tensors:
        """site -> B f[C + 1, d_out, r] after one SGD step a draw from the parent f[1, d_out, r].

        Differentiable in the parent: through the gradients of the steps where second order, else as if they
        were constants (``∂B_c / ∂B_0 = 1``; Finn et al., ICML 2017, section 5.2).
        """
        n = self.problem.n_tasks + 1
        fast = {site: value.expand(n, -1, -1) for site, value in parent.items()}
        for rows in draws:
            leaves = list(fast.values())
            if not self.second_order:
                leaves = [leaf.detach().requires_grad_(True) for leaf in leaves]
            losses = primary_losses(self.problem, rows, learned.down, dict(zip(fast, leaves)))
            gradients = torch.autograd.grad(losses.sum() / self.batch, leaves, create_graph=self.second_order)
            fast = {
                site: fast[site] - self.inner_rate * learned.step[site] ** 2 * gradient
                for site, gradient in zip(fast, gradients)
            }
        return fast

    def outer_loss(
        self, learned: Learned, parent: Tensors, draws: list[torch.Tensor], query: torch.Tensor
    ) -> torch.Tensor:
        """The mean over drawn episodes of the loss after adaptation; every inhabited task counts the same.

        draws: an i64[C' · batch] a step, as `draw` gives them; query: one more.
        """
        fast = self.adapted(learned, parent, draws)
        return primary_losses(self.problem, query, learned.down, fast).mean()

    def parent(self, learned: Learned, progress: Progress) -> Tensors:
        """B_0 f[1, d_out, r] by site after all rounds of Adam."""
        sites = list(learned.up)
        start = {site: learned.up[site][-1:].clone() for site in sites}
        moves = {site: torch.zeros_like(start[site]) for site in sites}
        optimiser = Adam(list(moves.values()), self.outer_rate)
        for round_ in range(self.rounds):
            for move in moves.values():
                move.requires_grad_(True)
            parent = {site: start[site] + learned.step[site] * moves[site] for site in sites}
            draws = [self.draw() for _ in range(self.inner_steps)]
            loss = self.outer_loss(learned, parent, draws, self.draw())
            gradients = torch.autograd.grad(loss, list(moves.values()))
            for move in moves.values():
                move.requires_grad_(False)
            optimiser.rate = self.outer_rate * (1 - round_ / self.rounds)
            optimiser.step(gradients)
            progress(round_ + 1, self.rounds, "learning adapters")
        return {site: start[site] + learned.step[site] * moves[site] for site in sites}
