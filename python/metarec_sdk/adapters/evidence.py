"""Do the tasks differ, where, and by how much: a score test before anything is trained.

At the parent the loss of episode u has the gradient ``g_u z_uᵀ`` in B (g_u at the site's output,
z_u = A x_u), which needs one backward pass for all tasks. Per element of B, task c has the score
``G_c = Σ_u π_uc g_u z_u`` and the empirical Fisher information ``J_c = Σ_u π_uc² g_u² z_u²``; one Newton step
puts it at ``b̂_c = −G_c / J_c`` with variance ``1/J_c``. The spread of the b̂_c beyond that variance is τ² (the
moment estimator of DerSimonian & Laird 1986), and how much spread is due to chance is found by handing the
memberships to other users at random (a permutation test within supports of like length), which holds
whatever the correlations between elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from metarec_sdk.adapters.batch import EpisodeTensors

PERMUTATIONS = 24
_BLOCK = 1024
_TINY = 1e-12


@dataclass(frozen=True)
class SiteEvidence:
    """What the score test found at one site."""

    spread: torch.Tensor
    """f[r], τ² of each rank direction; 0 where the tasks don't differ beyond chance."""
    kept: torch.Tensor
    """bool[C, r], the directions in which a task earns an adapter of its own."""
    information: torch.Tensor
    """f[C, d_out, r], J of each element."""


def dense_memberships(batch: EpisodeTensors, n_tasks: int) -> torch.Tensor:
    """f[b, C], π_uc without the parent's column."""
    dense = torch.zeros(len(batch), n_tasks + 1, dtype=batch.memberships.dtype)
    return dense.scatter_add(1, batch.rows, batch.memberships)[:, :n_tasks]


def scores_and_information(
    weights: torch.Tensor, g: torch.Tensor, z: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(G, J), both f[C, d_out, r], from weights f[b, C], g f[b, d_out] and z f[b, r]."""
    n_tasks, d_out, r = weights.shape[1], g.shape[1], z.shape[1]
    score = torch.zeros(n_tasks * r, d_out, dtype=g.dtype)
    information = torch.zeros(n_tasks * r, d_out, dtype=g.dtype)
    for rows in torch.split(torch.arange(len(g)), _BLOCK):
        pairs = weights[rows, :, None] * z[rows, None, :]  # [block, C, r]
        pairs = pairs.reshape(len(rows), -1)
        score += pairs.T @ g[rows]
        information += pairs.square().T @ g[rows].square()
    shape = (n_tasks, r, d_out)
    return score.reshape(shape).transpose(1, 2), information.reshape(shape).transpose(1, 2)


def _heterogeneity(score: torch.Tensor, information: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(q f[C, r], room f[r]): J-weighted squared deviations of the b̂_c from their mean, and the factor of τ²
    in the expectation of their sum."""
    total = information.sum(0).clamp(min=_TINY)  # [d_out, r]
    mean = -score.sum(0) / total
    deviation = -score / information.clamp(min=_TINY) - mean
    q = (information * deviation.square()).sum(1)
    room = (total - information.square().sum(0) / total).sum(0)
    return q, room


def find_evidence(
    batch: EpisodeTensors,
    n_tasks: int,
    g: torch.Tensor,
    z: torch.Tensor,
    *,
    generator: torch.Generator,
    permutations: int = PERMUTATIONS,
) -> SiteEvidence:
    """The score test at one site; give each user once (episodes of one user aren't independent).

    A direction is kept where its heterogeneity, standardised over the permutations and itself, is larger than
    that of any direction in any permutation (a test of the whole site at level 1/(permutations + 1), Westfall
    & Young 1993), and a task keeps it where its own share is beyond the permutations' mean by a standard
    deviation.
    """
    weights = dense_memberships(batch, n_tasks)
    score, information = scores_and_information(weights, g, z)
    q, room = _heterogeneity(score, information)
    chance = []
    for _ in range(permutations):
        shuffled = weights[_permutation_within(batch.bins, generator)]
        chance.append(_heterogeneity(*scores_and_information(shuffled, g, z))[0])
    null = torch.stack(chance)  # [permutations, C, r]
    sums = null.sum(1)
    excess = q.sum(0) - sums.mean(0)
    spread = (excess / room.clamp(min=_TINY)).clamp(min=0)
    pool = torch.cat([q.sum(0)[None], sums])  # [1 + permutations, r]
    standard = (pool - pool.mean(0)) / pool.std(0).clamp(min=_TINY)
    spread = torch.where(standard[0] > standard[1:].max(), spread, torch.zeros_like(spread))
    own = (q - null.mean(0) > null.std(0)) & (information.sum(1) > 0)
    kept = own & (spread > 0)
    return SiteEvidence(torch.where(kept.any(0), spread, 0.0), kept, information)


def _permutation_within(bins: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A permutation of the rows that keeps every row within its bin."""
    places = torch.argsort(bins, stable=True)
    shuffled = torch.randperm(len(bins), generator=generator)
    shuffled = shuffled[torch.argsort(bins[shuffled], stable=True)]
    permutation = torch.empty_like(places)
    permutation[places] = shuffled
    return permutation
