"""Prior means of the tasks by hierarchical shrinkage.

``μ_c = (n_c μ̂_c + κ₀ μ₀) / (n_c + κ₀)``: a task's own mean as far as its size earns it, the mean of everybody
for the rest. κ₀, the size at which they weigh alike, is the ratio of the variance of users within a task to
the variance of the tasks' means, estimated by moments (empirical Bayes; DerSimonian & Laird 1986).
"""

from __future__ import annotations

import torch

STARTING_KAPPA = 20.0
_MOST_KAPPA = 1e6


def shrunk_means(
    estimate: torch.Tensor, precision: torch.Tensor, weights: torch.Tensor, kappa: float | None = None
) -> tuple[torch.Tensor, float]:
    """(f[C + 1, m] with the parent μ₀ last, the κ₀ used).

    estimate f[u, m] of each user's vector with precision f[u, m]; weights f[u, C], π_uc. kappa fixes κ₀;
    None estimates it, and takes `STARTING_KAPPA` where one task leaves nothing to estimate it from. A task
    without users is at μ₀.
    """
    parent = (precision * estimate).sum(0) / precision.sum(0).clamp(min=1e-12)  # [m]
    size = weights.sum(0)[:, None]  # [C, 1]
    mass = weights.T @ precision  # [C, m]
    own = torch.where(mass > 0, (weights.T @ (precision * estimate)) / mass.clamp(min=1e-12), parent)
    if kappa is None:
        kappa = _ratio(estimate, precision, weights, own)
    means = (size * own + kappa * parent) / (size + kappa).clamp(min=1e-12)
    return torch.cat([means, parent[None]]), kappa


def _ratio(
    estimate: torch.Tensor, precision: torch.Tensor, weights: torch.Tensor, own: torch.Tensor
) -> float:
    """Within-task variance over between-task variance, one number over all dimensions."""
    size = weights.sum(0)  # [C]
    inhabited = size > 1
    if int(inhabited.sum()) < 2:
        return STARTING_KAPPA
    squares = weights.T @ estimate.square() / size.clamp(min=1e-12)[:, None]
    plain = weights.T @ estimate / size.clamp(min=1e-12)[:, None]
    within = (squares - plain.square()).clamp(min=0)[inhabited]  # [C', m]
    size, means = size[inhabited, None], own[inhabited]
    pooled = (size * within).sum(0) / (size.sum() - len(size)).clamp(min=1)  # [m]
    grand = (size * means).sum(0) / size.sum()
    q = (size * (means - grand).square()).sum(0)
    room = size.sum() - size.square().sum() / size.sum()
    between = (q - (len(size) - 1) * pooled) / room
    total = between.sum()
    if total <= 0:
        return _MOST_KAPPA
    return float((pooled.sum() / total).clamp(min=1e-3, max=_MOST_KAPPA))
