"""The `natpar` head for many users at once, differentiable in everything that an outer loop learns.

``ŵ_u = (s r_u + μ_u) / (s κ_u + 1)`` with ``r_u = Σ_j ω_j ψ_j``, ``κ_u = Σ_j ω_j``: support i64[b, s] with
weights ω f[b, s], 0 for padding, item table ψ f[n, m], prior means μ f[b, m] (0 where absent) and one row of
the prior variance s f[bins, m] ≥ 0 a bin of κ: that of the number of edges f[bins - 1] ≤ κ. It is the
posterior mean, at one Newton step, of a softmax model with whitened item table (conjugate Gaussian update:
Bishop, "Pattern Recognition and Machine Learning", 2006, §2.3.3), as `metarec_sdk.heads` computes it in Rust.

With ``D = s κ + 1`` and the derivative g of ŵ: ``∂r = g s / D``, ``∂μ = g / D``, ``∂κ = −∂r·ŵ``,
``∂s = Σ_{u in the bin} g (r − κ ŵ) / D``, and from those of r and κ ``∂ω_j = ∂r·ψ_j + ∂κ``,
``∂ψ_i = Σ_{j: item i} ω_j ∂r``, summed by item in sorted order on a GPU: the same bytes on every run.
Derivatives of every order exist. A bin is constant.

Numerics: fp32 or fp64, sums in that type. On a GPU one program gathers the rows of a user, adds them in a
fixed order, and writes ŵ, r and κ; padding isn't read. The kernel and torch add the weights in other
orders: where they aren't whole numbers, a κ within rounding of an edge may fall on either side of it.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
from __future__ import annotations

import functools
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels import launch

tl: Any = None  # triton.language once a kernel is built

Sums: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""(ŵ f[b, m], r f[b, m], κ f[b])."""

WIDEST = 1024
"""m up to which the kernel runs."""


def natpar(
    support: Tensor,
    weights: Tensor,
    psi_in: Tensor,
    prior_variance: Tensor,
    edges: Tensor,
    prior_mean: Tensor | None = None,
) -> Sums:
    """(ŵ f[b, m], r f[b, m], κ f[b]) from support i64[b, s], weights f[b, s], psi_in f[n, m],
    prior_variance f[bins, m], ascending edges f[bins - 1] and prior_mean f[b, m]; see the module.

    Raises `ArgumentError` where shapes, dtypes or devices don't fit.
    """
    _check(support, weights, psi_in, prior_variance, edges, prior_mean)
    call: Any = natpar_operator if torch.compiler.is_compiling() else _Natpar.apply
    found: Sums = call(support, weights, psi_in, prior_variance, edges, prior_mean)
    return found


def natpar_sums(support: Tensor, weights: Tensor, psi_in: Tensor) -> tuple[Tensor, Tensor]:
    """(r f[b, m], κ f[b]) in plain torch; see the module."""
    (b, s), flat = support.shape, weights.flatten()
    starts = torch.arange(b, device=support.device) * s  # [b]; a matrix of no columns would be refused
    r = functional.embedding_bag(support.flatten(), psi_in, starts, per_sample_weights=flat, mode="sum")
    return r, weights.sum(1)


def natpar_reference(
    support: Tensor,
    weights: Tensor,
    psi_in: Tensor,
    prior_variance: Tensor,
    edges: Tensor,
    prior_mean: Tensor | None,
) -> Sums:
    """`natpar` in plain torch."""
    r, kappa = natpar_sums(support, weights, psi_in)
    variance = prior_variance[_bins(edges, kappa)]  # [b, m]
    weighted = variance * r
    if prior_mean is not None:
        weighted = weighted + prior_mean
    return weighted / (variance * kappa[:, None] + 1), r, kappa


def _bins(edges: Tensor, kappa: Tensor) -> Tensor:
    """i64[b]."""
    return torch.searchsorted(edges, kappa.detach(), right=True)


def _check(
    support: Tensor,
    weights: Tensor,
    psi_in: Tensor,
    prior_variance: Tensor,
    edges: Tensor,
    prior_mean: Tensor | None,
) -> None:
    if support.ndim != 2 or psi_in.ndim != 2 or weights.shape != support.shape:
        raise ArgumentError(
            f"support and weights must be [b, s] and psi_in [n, m], got {list(support.shape)}, "
            f"{list(weights.shape)} and {list(psi_in.shape)}"
        )
    m = psi_in.shape[1]
    if edges.ndim != 1 or prior_variance.shape != (len(edges) + 1, m):
        raise ArgumentError(
            f"prior_variance must be [bins, {m}] and edges [bins - 1], got {list(prior_variance.shape)} and "
            f"{list(edges.shape)}"
        )
    if prior_mean is not None and prior_mean.shape != (len(support), m):
        raise ArgumentError(f"prior_mean must be {[len(support), m]}, got {list(prior_mean.shape)}")
    if support.dtype != torch.int64:
        raise ArgumentError(f"support must be int64, got {support.dtype}")
    given = [value for value in (psi_in, weights, prior_variance, edges, prior_mean) if value is not None]
    if psi_in.dtype not in (torch.float32, torch.float64) or any(
        value.dtype != psi_in.dtype or value.device != support.device for value in given
    ):
        raise ArgumentError(
            f"psi_in, weights, prior_variance, edges and prior_mean must all be float32 or all float64, on "
            f"one device with support, got {[(str(value.dtype), str(value.device)) for value in given]}"
        )


def compute_natpar(
    support: Tensor,
    weights: Tensor,
    psi_in: Tensor,
    prior_variance: Tensor,
    edges: Tensor,
    prior_mean: Tensor | None,
) -> Sums:
    """The values, without derivatives."""
    if launch.runs_kernel(psi_in) and psi_in.shape[1] <= WIDEST:
        return _launch(support, weights, psi_in, prior_variance, edges, prior_mean)
    return natpar_reference(support, weights, psi_in, prior_variance, edges, prior_mean)


class _Natpar(torch.autograd.Function):
    @staticmethod
    def forward(
        support: Tensor,
        weights: Tensor,
        psi_in: Tensor,
        prior_variance: Tensor,
        edges: Tensor,
        prior_mean: Tensor | None,
    ) -> Sums:
        return compute_natpar(support, weights, psi_in, prior_variance, edges, prior_mean)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Sums) -> None:
        _setup(ctx, inputs, output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return _backward(ctx, *gradients)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Sums) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:5], *output)


def _backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
    support, weights, psi_in, prior_variance, edges, w, r, kappa = ctx.saved_tensors
    _, for_weights, for_psi, for_variance, _, for_mean = ctx.needs_input_grad
    of_w, of_r, of_kappa = gradients
    found: list[Tensor | None] = [None] * 6
    if of_w is not None:
        bins = _bins(edges, kappa)
        variance = prior_variance[bins]  # [b, m]
        shrunk = of_w / (variance * kappa[:, None] + 1)
        if for_variance:
            # By a product and not by adding up: in fixed order on a GPU too.
            member = (bins == torch.arange(len(prior_variance), device=bins.device)[:, None]).to(w.dtype)
            found[3] = member @ (shrunk * (r - kappa[:, None] * w))  # [bins, m]
        if for_mean:
            found[5] = shrunk
        inner = shrunk * variance
        less = -(inner * w).sum(1)
        of_r = inner if of_r is None else of_r + inner
        of_kappa = less if of_kappa is None else of_kappa + less
    if for_weights:
        along = weights.new_zeros(()) if of_r is None else (psi_in[support] @ of_r[:, :, None])[:, :, 0]
        found[1] = (along if of_kappa is None else along + of_kappa[:, None]).expand(weights.shape)
    if for_psi and of_r is not None:
        found[2] = launch.sum_by_item(weights[:, :, None] * of_r[:, None, :], support, len(psi_in))
    return tuple(found)


@torch.library.custom_op("metarec::natpar", mutates_args=())
def natpar_operator(
    support: Tensor,
    weights: Tensor,
    psi_in: Tensor,
    prior_variance: Tensor,
    edges: Tensor,
    prior_mean: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`natpar` for compilers."""
    return compute_natpar(support, weights, psi_in, prior_variance, edges, prior_mean)


@natpar_operator.register_fake
def _(support: Tensor, weights: Tensor, psi_in: Tensor, *rest: Any) -> Sums:
    shape = support.shape[0], psi_in.shape[1]
    return psi_in.new_empty(shape), psi_in.new_empty(shape), psi_in.new_empty(shape[0])


natpar_operator.register_autograd(_backward, setup_context=_setup)


def _launch(
    support: Tensor,
    weights: Tensor,
    psi_in: Tensor,
    prior_variance: Tensor,
    edges: Tensor,
    prior_mean: Tensor | None,
) -> Sums:
    (b, s), m = support.shape, psi_in.shape[1]
    w, r, kappa = psi_in.new_empty(b, m), psi_in.new_empty(b, m), psi_in.new_empty(b)
    if b:
        block_m = launch.power_of_two(m)
        kernel()[(b,)](
            support.contiguous(), weights.contiguous(), psi_in.contiguous(), prior_variance.contiguous(),
            edges.contiguous(), None if prior_mean is None else prior_mean.contiguous(), w, r, kappa,
            s, m, len(edges), HAS_MEAN=prior_mean is not None, BLOCK_M=block_m,
            BLOCK_S=min(launch.power_of_two(s, 1), max(2048 // block_m, 1)),
            BLOCK_E=launch.power_of_two(len(edges), 1), FLOAT=launch.accumulator(psi_in.dtype),
            num_warps=1, num_stages=2, enable_fp_fusion=True,
        )  # fmt: skip
    return w, r, kappa


@functools.cache
def kernel() -> Any:
    """The Triton kernel, built on first use."""
    global tl
    import triton
    import triton.language as tl

    @triton.jit
    def natpar_kernel(
        support_ptr, weights_ptr, psi_ptr, variance_ptr, edges_ptr, mean_ptr, w_ptr, r_ptr, kappa_ptr,
        S, M, E, HAS_MEAN: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_E: tl.constexpr,
        FLOAT: tl.constexpr,
    ):  # fmt: skip
        user = tl.program_id(0).to(tl.int64)
        d = tl.arange(0, BLOCK_M)
        wide = d < M
        r = tl.zeros((BLOCK_M,), FLOAT)
        kappa = tl.sum(tl.zeros((BLOCK_S,), FLOAT), 0)
        for start in range(0, S, BLOCK_S):
            j = start + tl.arange(0, BLOCK_S)
            weight = tl.load(weights_ptr + user * S + j, mask=j < S, other=0.0)
            used = weight != 0
            item = tl.load(support_ptr + user * S + j, mask=used, other=0)
            psi = tl.load(
                psi_ptr + item[:, None] * M + d[None, :], mask=used[:, None] & wide[None, :], other=0.0
            )
            r += tl.sum(weight[:, None] * psi, 0)
            kappa += tl.sum(weight, 0)
        e = tl.arange(0, BLOCK_E)
        edge = tl.load(edges_ptr + e, mask=e < E, other=float("inf"))
        place = tl.sum((edge <= kappa).to(tl.int32), 0)
        variance = tl.load(variance_ptr + place * M + d, mask=wide, other=0.0)
        weighted = variance * r
        if HAS_MEAN:
            weighted += tl.load(mean_ptr + user * M + d, mask=wide, other=0.0)
        tl.store(w_ptr + user * M + d, weighted / (variance * kappa + 1), mask=wide)
        tl.store(r_ptr + user * M + d, r, mask=wide)
        tl.store(kappa_ptr + user, kappa)

    return natpar_kernel
