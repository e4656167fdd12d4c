"""Adapters by hierarchical maximum a posteriori.

``min Σ_u CE(query_u | θ, A, B_u) + ½ Σ_l Σ_c ‖B_lc − B_l0‖² / τ_l²``, B_u = Σ_c π_uc B_c, θ and A frozen.
Written as B_c = B_0 + D_c, so that B_0 learns from everybody; after each epoch the closed-form outer step
``B_0 ← mean_c B_c`` moves the mean of the D_c into B_0 and τ² is re-estimated by EM under a Laplace
approximation (τ² = mean of D² + posterior variance). A task that earned no direction stays at B_0.
All tasks are trained at once by one gather and one bmm a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from metarec_sdk.adapters.adapter_problem import AdapterProblem
from metarec_sdk.adapters.early_stopping import Schedule, train
from metarec_sdk.adapters.evidence import SiteEvidence, dense_memberships, find_evidence
from metarec_sdk.adapters.sites import Tensors

Tick = Callable[[int, int], None]
_SILENT = 1e-3  # share of a site's energy below which a rank direction of the parent is pruned


@dataclass
class Learned:
    """Adapters in training: down f[r, d_in] and up f[C + 1, d_out, r] by site, and the evidence for tasks."""

    down: Tensors
    up: Tensors
    step: dict[str, float]
    """What one unit of the optimiser means at each site."""
    evidence: dict[str, SiteEvidence]


def starting_point(problem: AdapterProblem, rank: int) -> Learned:
    """Orthonormal A in the directions that matter to the loss, B = 0, and a step's scale.

    The rows of A are the leading eigenvectors of ``GᵀG / tr + E / tr``: G = Σ_u g_u x_uᵀ is the gradient of
    everybody's loss (as in LoRA-GA, Wang et al., NeurIPS 2024), E = Σ_u ‖g_u‖² x_u x_uᵀ its energy, which
    also holds what cancels out over users. Memberships play no part: a subspace picked for how far the tasks
    are apart in it would make every later test of that distance too hopeful.
    """
    gradients, inputs = problem.output_gradients(problem.one_per_user(), {}, {})
    down, up, step = {}, {}, {}
    for site, (d_in, d_out) in problem.sites.sizes.items():
        g, x = gradients[site], inputs[site].double()
        pooled = g.double().T @ x
        parts = (pooled.T @ pooled, (x * g.double().square().sum(1, keepdim=True)).T @ x)
        second = sum(part / part.trace().clamp(min=1e-30) for part in parts)
        r = min(rank, d_in)
        vectors = torch.linalg.eigh(second)[1].flip(1)[:, :r]  # ascending order
        largest = vectors.abs().argmax(0)
        vectors = vectors * vectors[largest, torch.arange(r)].sign()  # eigenvectors have no sign of their own
        down[site] = vectors.T.to(g.dtype).contiguous()
        up[site] = torch.zeros(problem.n_tasks + 1, d_out, r, dtype=g.dtype)
        z = inputs[site] @ down[site].T
        per_element = (g.square().mean(0)[:, None] * z.square().mean(0)).mean().sqrt()
        step[site] = float(1.0 / (per_element * (d_out * r) ** 0.5).clamp(min=1e-9))
    return Learned(down, up, step, {})


def learn_parent(problem: AdapterProblem, learned: Learned, schedule: Schedule, tick: Tick) -> None:
    """Train B_0 for everybody, in place; every task stays at it."""
    sites = list(learned.down)
    start = {site: learned.up[site][-1:] for site in sites}
    moves = {site: torch.zeros_like(start[site]) for site in sites}  # [1, d_out, r]

    def up() -> Tensors:
        return {
            site: (start[site] + learned.step[site] * moves[site]).expand(problem.n_tasks + 1, -1, -1)
            for site in sites
        }

    train(
        list(moves.values()),
        lambda rows: problem.losses(rows, learned.down, up()).mean(),
        lambda: problem.validation_loss(learned.down, up()),
        n_rows=len(problem.training),
        schedule=schedule,
        generator=problem.generator,
        tick=tick,
    )
    learned.up = {site: value.contiguous() for site, value in up().items()}


def drop_useless_sites(problem: AdapterProblem, learned: Learned) -> None:
    """Take the parent's adapter out of every site where validation doesn't miss it by more than an error."""
    best = problem.judged(learned.down, learned.up)
    for site in list(learned.down):
        if len(learned.down) == 1:
            return
        rest = [other for other in learned.down if other != site]
        down = {other: learned.down[other] for other in rest}
        up = {other: learned.up[other] for other in rest}
        without = problem.judged(down, up)
        gain, error = best.gain_over(without)
        if gain <= error:
            learned.down, learned.up, best = down, up, without


def weigh_evidence(problem: AdapterProblem, learned: Learned) -> None:
    """Fill in the evidence for tasks at the present parent, site by site."""
    rows = problem.one_per_user()
    gradients, inputs = problem.output_gradients(rows, learned.down, learned.up)
    batch = problem.training.take(rows)
    learned.evidence = {
        site: find_evidence(
            batch,
            problem.n_tasks,
            gradients[site],
            inputs[site] @ learned.down[site].T,
            generator=problem.generator,
        )
        for site in learned.down
    }


def learn_tasks(problem: AdapterProblem, learned: Learned, schedule: Schedule, tick: Tick) -> None:
    """Train B_0 and every B_c that earned a direction, in place; needs `weigh_evidence` first."""
    sites = [site for site, found in learned.evidence.items() if found.kept.any()]
    parents = {site: learned.up[site][-1].clone() for site in sites}  # B_0 [d_out, r]
    apart = {site: learned.up[site][:-1] - parents[site] for site in sites}  # D_c [C, d_out, r]
    moves = {site: torch.zeros_like(parents[site]) for site in sites}
    kept = {site: learned.evidence[site].kept[:, None, :].to(parents[site].dtype) for site in sites}
    spread = {site: learned.evidence[site].spread.clone() for site in sites}
    # A unit of the optimiser is no larger than τ: where the prior is narrow, steps are small.
    unit = {site: spread[site].sqrt().clamp(min=1e-9, max=learned.step[site]) for site in sites}  # [r]
    offsets = {site: apart[site] / unit[site] for site in sites}
    free = _all_members_kept(problem, learned, sites)
    users = float(problem.training.share.sum())

    def up() -> Tensors:
        values = dict(learned.up)
        for site in sites:
            parent = parents[site] + learned.step[site] * moves[site]
            own = parent + unit[site] * offsets[site] * kept[site]
            values[site] = torch.cat([own, parent[None]])
        return values

    def loss_of(rows: torch.Tensor) -> torch.Tensor:
        loss = problem.losses(rows, learned.down, up())
        penalty = loss.new_zeros(())
        for site in sites:
            square = (unit[site] * offsets[site] * kept[site]).square()
            penalty = penalty + 0.5 * (square / spread[site].clamp(min=1e-12)).sum()
        return loss.sum() / problem.training.share[rows].sum() + penalty / users

    def outer_step() -> None:
        for site in sites:
            offsets[site].mul_(kept[site])
            count = kept[site].sum(0).clamp(min=1)  # [1, r]
            mean = offsets[site].sum(0) / count * free[site]
            moves[site] += unit[site] / learned.step[site] * mean
            offsets[site].sub_(mean).mul_(kept[site])
            information = learned.evidence[site].information
            variance = 1 / (information + 1 / spread[site].clamp(min=1e-12))
            square = (unit[site] * offsets[site]).square() + variance
            total = (kept[site] * square).mean(1).sum(0)
            spread[site].copy_(total / kept[site].sum(0)[0].clamp(min=1))

    train(
        [*moves.values(), *offsets.values()],
        loss_of,
        lambda: problem.validation_loss(learned.down, up()),
        n_rows=len(problem.training),
        schedule=schedule,
        generator=problem.generator,
        after_epoch=outer_step,
        tick=tick,
    )
    learned.up = {site: value.contiguous() for site, value in up().items()}
    for site in sites:
        found = learned.evidence[site]
        learned.evidence[site] = SiteEvidence(spread[site], found.kept, found.information)


def _all_members_kept(problem: AdapterProblem, learned: Learned, sites: list[str]) -> Tensors:
    """f[r] by site: 1 where moving all D_c into B_0 changes no user's adapter, because every user belongs to
    tasks that kept the direction; elsewhere B_0 has users of its own and learns by gradient alone."""
    dense = dense_memberships(problem.training, problem.n_tasks)
    orphans = (1 - dense.sum(1)).abs().max() > 1e-6
    inhabited = (dense.sum(0) > 0)[:, None]
    return {
        site: ((learned.evidence[site].kept | ~inhabited).all(0) & ~orphans).to(dense.dtype) for site in sites
    }


def prune(learned: Learned) -> None:
    """Leave out the directions that neither the parent nor a task uses, and the sites without any."""
    for site in list(learned.down):
        energy = learned.up[site].square().sum((0, 1))  # [r]
        keep = energy > _SILENT * energy.sum()
        if site in learned.evidence:
            keep |= learned.evidence[site].kept.any(0) & (energy > 0)
        if not keep.any():
            del learned.down[site], learned.up[site]
            learned.evidence.pop(site, None)
            continue
        learned.down[site] = learned.down[site][keep].contiguous()
        learned.up[site] = learned.up[site][:, :, keep].contiguous()
        if site in learned.evidence:
            found = learned.evidence[site]
            learned.evidence[site] = SiteEvidence(
                found.spread[keep], found.kept[:, keep], found.information[:, :, keep]
            )
