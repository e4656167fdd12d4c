"""The `natpar` head in torch, differentiable in everything that an outer loop learns.

``ŵ_u = (s r_u + μ_u) / (s κ_u + 1)`` with ``r_u = Σ_j ω_j ψ_in(j)``, ``κ_u = Σ_j ω_j`` and one row of the
prior variance s a bin of κ: the posterior mean of a softmax model with whitened item table, as
`metarec_sdk.heads` computes it in Rust.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def natpar_sums(
    support: torch.Tensor, weights: torch.Tensor, psi_in: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(r f[b, m], κ f[b]) of support i64[b, s] with weights f[b, s], 0 for padding, and psi_in f[n, m]."""
    r = functional.embedding_bag(support, psi_in, per_sample_weights=weights, mode="sum")
    return r, weights.sum(1)


def natpar_query(
    r: torch.Tensor,
    kappa: torch.Tensor,
    prior_variance: torch.Tensor,
    edges: torch.Tensor,
    prior_mean: torch.Tensor | None = None,
) -> torch.Tensor:
    """ŵ f[b, m] from r f[b, m] and κ f[b].

    prior_variance: s f[bins, m] ≥ 0. edges: f[bins - 1], ascending; a user is in the bin of the number of
    edges ≤ κ. prior_mean: μ f[b, m], 0 where absent.
    """
    variance = prior_variance[torch.searchsorted(edges, kappa.detach(), right=True)]  # [b, m]
    weighted = variance * r
    if prior_mean is not None:
        weighted = weighted + prior_mean
    return weighted / (variance * kappa[:, None] + 1)
