"""The `ridge` head in torch, differentiable through its Cholesky factorisations.

``(α₀ G + Φ_SᵀΩΦ_S + Λ) w = Φ_SᵀΩ y + Λ μ``: implicit-feedback least squares on item factors Φ with G = ΦᵀΦ
(Hu et al., ICDM 2008), solved in the dual where the support is short: with ``P = (α₀ G + Λ)⁻¹`` and
``w⁰ = P Λ μ``, ``w = w⁰ + P Φ_Sᵀ (Ω⁻¹ + Φ_S P Φ_Sᵀ)⁻¹ (y − Φ_S w⁰)``. Gradients go through torch's Cholesky
solves, nothing is unrolled (R2D2, Bertinetto et al., ICLR 2019).
"""

from __future__ import annotations

import torch

DUAL_SHARE = 0.7  # support length, as a share of the width, up to which the dual is cheaper


def ridge_query(
    support: torch.Tensor,
    weights: torch.Tensor,
    factors: torch.Tensor,
    gram: torch.Tensor,
    alpha: torch.Tensor,
    penalty: torch.Tensor,
    prior_mean: torch.Tensor | None = None,
    target: float | torch.Tensor = 1.0,
) -> torch.Tensor:
    """w f[b, m].

    support i64[b, s] with weights ω f[b, s], 0 for padding; factors Φ f[n, m]; gram G f[m, m]; α₀ > 0 f[];
    penalty f[m], the diagonal of Λ > 0; prior means μ f[b, m], 0 where absent; target y.
    """
    m = factors.shape[1]
    rows = factors[support]  # [b, s, m]
    base = alpha * gram + torch.diag(penalty)
    factor = torch.linalg.cholesky(base)
    if support.shape[1] > DUAL_SHARE * m:
        return _primal(rows, weights, base, penalty, prior_mean, target)
    projected = torch.cholesky_solve(rows.reshape(-1, m).T, factor).T.reshape(rows.shape)  # Φ_S P
    root = weights.clamp(min=0).sqrt()
    # Scaled by Ω^{1/2} on both sides, so that padding (ω = 0) is an identity row and not an infinity.
    inner = root[:, :, None] * (projected @ rows.transpose(1, 2)) * root[:, None, :]
    inner = inner + torch.eye(support.shape[1], dtype=factors.dtype)
    residual = torch.as_tensor(target, dtype=factors.dtype).expand(weights.shape)
    start = None
    if prior_mean is not None:
        start = torch.cholesky_solve((penalty * prior_mean).T, factor).T  # [b, m]
        residual = residual - (rows @ start[:, :, None])[:, :, 0]
    dual = torch.cholesky_solve((root * residual)[:, :, None], torch.linalg.cholesky(inner))  # [b, s, 1]
    w = (projected.transpose(1, 2) @ (root[:, :, None] * dual))[:, :, 0]
    return w if start is None else w + start


def _primal(
    rows: torch.Tensor,
    weights: torch.Tensor,
    base: torch.Tensor,
    penalty: torch.Tensor,
    prior_mean: torch.Tensor | None,
    target: float | torch.Tensor,
) -> torch.Tensor:
    system = base + rows.transpose(1, 2) @ (weights[:, :, None] * rows)  # [b, m, m]
    right = (weights[:, :, None] * rows * torch.as_tensor(target, dtype=rows.dtype)).sum(1)
    if prior_mean is not None:
        right = right + penalty * prior_mean
    return torch.cholesky_solve(right[:, :, None], torch.linalg.cholesky(system))[:, :, 0]
