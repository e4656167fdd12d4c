"""The `ridge` head for many users at once, differentiable in everything.

``(B + Φ_SᵀΩΦ_S) w = Φ_SᵀΩ y + c`` for each user: factors Φ f[n, m], support S i64[b, s] with weights
ω f[b, s] ≥ 0 (0 for padding) and targets y f[b, s], c f[b, m], and one B f[m, m], symmetric and positive
definite. With ``B = α₀ G + Λ``, ``G = ΦᵀΦ`` and ``c = Λ μ`` it is implicit-feedback least squares on item
factors (Hu et al., ICDM 2008); see `ridge_query`.

Short supports are solved in the dual, with ``P = B⁻¹`` and ``w⁰ = P c``:
``w = w⁰ + P Φ_Sᵀ Ω^½ (I + Ω^½ Φ_S P Φ_Sᵀ Ω^½)⁻¹ Ω^½ (y − Φ_S w⁰)``; Ω^½ stands on both sides so that padding
is an identity row and not an infinity. The eigenvalues of what is factorised are at least 1.

Derivatives are closed form, nothing is unrolled (R2D2, Bertinetto et al., ICLR 2019): with the adjoint
``u = (B + Φ_SᵀΩΦ_S)⁻¹ ∂w``, which is the same operation with y = 0 and c = ∂w, with ``e = y − Φ_S w`` and
``a = Φ_S u``: ``∂c = u``, ``∂B = −(u wᵀ + w uᵀ)/2``, ``∂y = ω a``, ``∂ω = a e`` (also where ω = 0), and row j
of Φ_S gets ``ω_j (e_j u − a_j w)``. So derivatives of every order exist. Gradients of Φ are summed by item in
sorted order on a GPU: the same bytes on every run.

Numerics: fp32 or fp64. On a GPU, for s ≤ 64 and m ≤ 128 in fp32, one program does all of a user: rows are
gathered and projected by L⁻¹ of ``B = L Lᵀ``, their Gram matrix is factorised (right-looking Cholesky in
registers, a column picked by a masked sum), solved and projected back; nothing but w is written, and products
are exact whatever `torch.set_float32_matmul_precision` allows. Everything else takes torch's Cholesky. fp32
errors are a few 1e-7 of the largest value where B is well conditioned and grow with its condition. A B that
isn't positive definite raises on a CPU and gives NaN on a GPU, which would have to be waited for.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels import launch

tl: Any = None  # triton.language once a kernel is built

DUAL_SHARE = 0.7
"""Support length, as a share of the width, up to which the dual is cheaper with torch's factorisations."""
LONGEST_SUPPORT = 64
WIDEST = 128


def ridge_query(
    support: Tensor,
    weights: Tensor,
    factors: Tensor,
    gram: Tensor,
    alpha: Tensor,
    penalty: Tensor,
    prior_mean: Tensor | None = None,
    target: float | Tensor = 1.0,
) -> Tensor:
    """w f[b, m] of ``(α₀ G + Φ_SᵀΩΦ_S + Λ) w = Φ_SᵀΩ y + Λ μ``.

    support i64[b, s] with weights ω f[b, s], 0 for padding; factors Φ f[n, m]; gram G f[m, m]; α₀ > 0 f[];
    penalty f[m], the diagonal of Λ > 0; prior means μ f[b, m], 0 where absent; target y. Raises as
    `ridge_solve` does.
    """
    base = alpha * gram + torch.diag(penalty)
    right = None if prior_mean is None else penalty * prior_mean
    targets = torch.as_tensor(target, dtype=factors.dtype, device=factors.device).expand(weights.shape)
    return ridge_solve(support, weights.clamp(min=0), factors, base, targets, right)


def ridge_solve(
    support: Tensor,
    weights: Tensor,
    factors: Tensor,
    base: Tensor,
    targets: Tensor | None,
    right: Tensor | None = None,
) -> Tensor:
    """w f[b, m] of ``(B + Φ_SᵀΩΦ_S) w = Φ_SᵀΩ y + c``; see the module.

    support i64[b, s], weights f[b, s] ≥ 0, factors f[n, m], base B f[m, m], targets y f[b, s] and right
    c f[b, m], 0 where absent. Raises `ArgumentError` where shapes, dtypes or devices don't fit.
    """
    _check(support, weights, factors, base, targets, right)
    return solve(support, weights, factors, base, targets, right, registered=torch.compiler.is_compiling())


def ridge_reference(
    support: Tensor,
    weights: Tensor,
    factors: Tensor,
    base: Tensor,
    targets: Tensor | None,
    right: Tensor | None,
) -> Tensor:
    """The same by torch's factorisations, in the dual where the support is short, that autograd unrolls."""
    s, m = support.shape[1], factors.shape[1]
    rows = factors[support]  # [b, s, m]
    targets = torch.zeros_like(weights) if targets is None else targets
    if s > DUAL_SHARE * m:
        system = base + rows.mT @ (weights[:, :, None] * rows)  # [b, m, m]
        total = ((weights * targets)[:, :, None] * rows).sum(1)
        total = total if right is None else total + right
        return torch.cholesky_solve(total[:, :, None], _cholesky(system))[:, :, 0]
    factor = _cholesky(base)
    projected = torch.cholesky_solve(rows.reshape(-1, m).T, factor).T.reshape(rows.shape)  # Φ_S P
    root = weights.sqrt()
    inner = root[:, :, None] * (projected @ rows.mT) * root[:, None, :]
    inner = inner + torch.eye(s, dtype=factors.dtype, device=factors.device)
    start = None
    if right is not None:
        start = torch.cholesky_solve(right.T, factor).T  # [b, m]
        targets = targets - (rows @ start[:, :, None])[:, :, 0]
    dual = torch.cholesky_solve((root * targets)[:, :, None], _cholesky(inner))  # [b, s, 1]
    w = (projected.mT @ (root[:, :, None] * dual))[:, :, 0]
    return w if start is None else w + start


def _cholesky(matrix: Tensor) -> Tensor:
    factor: Tensor
    # On a GPU looking for errors would wait for the device.
    factor = torch.linalg.cholesky_ex(matrix, check_errors=not matrix.is_cuda).L
    return factor


def _check(
    support: Tensor,
    weights: Tensor,
    factors: Tensor,
    base: Tensor,
    targets: Tensor | None,
    right: Tensor | None,
) -> None:
    if support.ndim != 2 or factors.ndim != 2 or weights.shape != support.shape:
        raise ArgumentError(
            f"support and weights must be [b, s] and factors [n, m], got {list(support.shape)}, "
            f"{list(weights.shape)} and {list(factors.shape)}"
        )
    m = factors.shape[1]
    for name, value, shape in (
        ("base", base, (m, m)),
        ("targets", targets, support.shape),
        ("right (or prior_mean)", right, (len(support), m)),
    ):
        if value is not None and value.shape != shape:
            raise ArgumentError(f"{name} must be {list(shape)}, got {list(value.shape)}")
    if support.dtype != torch.int64:
        raise ArgumentError(f"support must be int64, got {support.dtype}")
    given = [value for value in (factors, weights, base, targets, right) if value is not None]
    if factors.dtype not in (torch.float32, torch.float64) or any(
        value.dtype != factors.dtype or value.device != support.device for value in given
    ):
        raise ArgumentError(
            f"weights, factors, base, targets and right must all be float32 or all float64, on one device "
            f"with support, got {[(str(value.dtype), str(value.device)) for value in given]}"
        )


def solve(
    support: Tensor,
    weights: Tensor,
    factors: Tensor,
    base: Tensor,
    targets: Tensor | None,
    right: Tensor | None,
    *,
    registered: bool,
) -> Tensor:
    """The operation as a registered operator, as compilers need it, or as an `autograd.Function`."""
    call: Any = ridge_operator if registered else _Ridge.apply
    w: Tensor = call(support, weights, factors, base, targets, right)
    return w


def compute_solve(
    support: Tensor,
    weights: Tensor,
    factors: Tensor,
    base: Tensor,
    targets: Tensor | None,
    right: Tensor | None,
) -> Tensor:
    """The values, without derivatives."""
    if launch.runs_kernel(factors) and is_fused(support.shape[1], factors.shape[1], factors.dtype):
        return _launch(support, weights, factors, base, targets, right)
    return ridge_reference(support, weights, factors, base, targets, right)


def is_fused(s: int, m: int, dtype: torch.dtype) -> bool:
    """Whether one program can hold a user's Gram matrix in registers."""
    return 0 < s <= LONGEST_SUPPORT and m <= WIDEST and dtype == torch.float32


class _Ridge(torch.autograd.Function):
    @staticmethod
    def forward(
        support: Tensor,
        weights: Tensor,
        factors: Tensor,
        base: Tensor,
        targets: Tensor | None,
        right: Tensor | None,
    ) -> Tensor:
        return compute_solve(support, weights, factors, base, targets, right)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _setup(ctx, inputs, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _derivatives(ctx, gradient, registered=False)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5], output)


def _derivatives(ctx: Any, gradient: Tensor, *, registered: bool) -> tuple[Tensor | None, ...]:
    support, weights, factors, base, targets, w = ctx.saved_tensors
    _, for_weights, for_factors, for_base, for_targets, for_right = ctx.needs_input_grad
    u = solve(support, weights, factors, base, None, gradient, registered=registered)
    found: list[Tensor | None] = [None] * 6
    if for_weights or for_factors or for_targets:
        rows = factors[support]  # [b, s, m]
        along = (rows @ u[:, :, None])[:, :, 0]  # a
        rest = -(rows @ w[:, :, None])[:, :, 0]  # e
        rest = rest if targets is None else rest + targets
        if for_weights:
            found[1] = along * rest
        if for_factors:
            each = (weights * rest)[:, :, None] * u[:, None, :] - (weights * along)[:, :, None] * w[
                :, None, :
            ]
            found[2] = launch.sum_by_item(each, support, len(factors))
        if for_targets:
            found[4] = weights * along
    if for_base:
        outer = u.mT @ w
        found[3] = (outer + outer.mT) * -0.5
    if for_right:
        found[5] = u
    return tuple(found)


@torch.library.custom_op("metarec::ridge", mutates_args=())
def ridge_operator(
    support: Tensor,
    weights: Tensor,
    factors: Tensor,
    base: Tensor,
    targets: Tensor | None,
    right: Tensor | None,
) -> Tensor:
    """`ridge_solve` for compilers."""
    return compute_solve(support, weights, factors, base, targets, right).contiguous()


@ridge_operator.register_fake
def _(support: Tensor, weights: Tensor, factors: Tensor, *rest: Any) -> Tensor:
    return factors.new_empty(support.shape[0], factors.shape[1])


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return _derivatives(ctx, gradient, registered=True)


ridge_operator.register_autograd(_backward, setup_context=_setup)


def warps(block_s: int) -> int:
    """Warps of a program whose Gram matrix has this side: what holds it without a spilled register."""
    return block_s // 16


def _launch(
    support: Tensor,
    weights: Tensor,
    factors: Tensor,
    base: Tensor,
    targets: Tensor | None,
    right: Tensor | None,
) -> Tensor:
    (b, s), m = support.shape, factors.shape[1]
    identity = torch.eye(m, dtype=base.dtype, device=base.device)
    inverse = torch.linalg.solve_triangular(_cholesky(base), identity, upper=False).contiguous()  # L⁻¹
    p = inverse.T @ inverse
    start = None if right is None else right @ p
    w = torch.empty(b, m, dtype=factors.dtype, device=factors.device)
    if b:
        block_s = launch.power_of_two(s)
        kernel()[(b,)](
            support.contiguous(), weights.contiguous(), factors.contiguous(), inverse, p,
            None if targets is None else targets.contiguous(), start, w, s, m,
            HAS_TARGETS=targets is not None, HAS_START=start is not None, BLOCK_S=block_s,
            BLOCK_M=launch.power_of_two(m), BLOCK_C=16, FLOAT=launch.accumulator(factors.dtype),
            num_warps=warps(block_s), num_stages=2, enable_fp_fusion=True,
            maxnreg=launch.MOST_REGISTERS,
        )  # fmt: skip
    return w


@functools.cache
def kernel() -> Any:
    """The Triton kernel, built on first use."""
    global tl
    import triton
    import triton.language as tl

    @triton.jit
    def ridge_kernel(
        support_ptr, weights_ptr, factors_ptr, inverse_ptr, p_ptr, targets_ptr, start_ptr, w_ptr, S, M,
        HAS_TARGETS: tl.constexpr, HAS_START: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_M: tl.constexpr,
        BLOCK_C: tl.constexpr, FLOAT: tl.constexpr,
    ):  # fmt: skip
        user = tl.program_id(0).to(tl.int64)
        i = tl.arange(0, BLOCK_S)
        d = tl.arange(0, BLOCK_M)
        weight = tl.load(weights_ptr + user * S + i, mask=i < S, other=0.0)
        used = weight > 0
        root = tl.sqrt(tl.maximum(weight, 0.0))
        rows = factors_ptr + tl.load(support_ptr + user * S + i, mask=used, other=0) * M  # [S]
        inner = tl.where(i[:, None] == i[None, :], 1.0, 0.0).to(FLOAT)
        for at in range(0, M, BLOCK_C):
            c = at + tl.arange(0, BLOCK_C)
            projected = tl.zeros((BLOCK_S, BLOCK_C), FLOAT)
            for begin in range(0, at + BLOCK_C, BLOCK_C):  # L⁻¹ is lower triangular
                k = begin + tl.arange(0, BLOCK_C)
                phi = tl.load(rows[:, None] + k[None, :], mask=used[:, None] & (k < M)[None, :], other=0.0)
                inverse = tl.load(
                    inverse_ptr + c[None, :] * M + k[:, None],
                    mask=(c < M)[None, :] & (k < M)[:, None],
                    other=0.0,
                )
                projected = tl.dot(phi, inverse, projected, input_precision="ieee", out_dtype=FLOAT)
            projected *= root[:, None]
            inner = tl.dot(projected, tl.trans(projected), inner, input_precision="ieee", out_dtype=FLOAT)
        z = root * 0.0
        if HAS_TARGETS:
            z += tl.load(targets_ptr + user * S + i, mask=used, other=0.0)
        if HAS_START:
            for at in range(0, M, BLOCK_C):
                k = at + tl.arange(0, BLOCK_C)
                phi = tl.load(rows[:, None] + k[None, :], mask=used[:, None] & (k < M)[None, :], other=0.0)
                start = tl.load(start_ptr + user * M + k, mask=k < M, other=0.0)
                z -= tl.sum(phi * start[None, :], 1)
        z *= root
        longest = tl.max(tl.where(used, i + 1, 0), 0)
        for j in range(0, longest):
            column = tl.sum(tl.where((i == j)[None, :], inner, 0.0), 1)
            row = tl.sum(tl.where((i == j)[:, None], inner, 0.0), 0)
            scale = 1.0 / tl.sqrt(tl.sum(tl.where(i == j, row, 0.0), 0))
            column = tl.where(i >= j, column * scale, 0.0)
            below = tl.where(i > j, column, 0.0)
            right = tl.where(i > j, row * scale, 0.0)
            inner = tl.where((i == j)[None, :], column[:, None], inner - below[:, None] * right[None, :])
            solved = tl.sum(tl.where(i == j, z, 0.0), 0) * scale
            z = tl.where(i == j, solved, z - below * solved)
        for back in range(0, longest):
            j = longest - 1 - back
            column = tl.sum(tl.where((i == j)[None, :], inner, 0.0), 1)
            rest = tl.sum(tl.where(i > j, column * z, 0.0), 0)
            solved = (tl.sum(tl.where(i == j, z, 0.0), 0) - rest) / tl.sum(tl.where(i == j, column, 0.0), 0)
            z = tl.where(i == j, solved, z)
        z *= root
        w = tl.zeros((BLOCK_M,), FLOAT)
        if HAS_START:
            w = tl.load(start_ptr + user * M + d, mask=d < M, other=0.0)
        for at in range(0, M, BLOCK_C):
            k = at + tl.arange(0, BLOCK_C)
            phi = tl.load(rows[:, None] + k[None, :], mask=used[:, None] & (k < M)[None, :], other=0.0)
            p = tl.load(
                p_ptr + k[:, None] * M + d[None, :], mask=(k < M)[:, None] & (d < M)[None, :], other=0.0
            )
            w += tl.sum(p * tl.sum(phi * z[:, None], 0)[:, None], 0)
        tl.store(w_ptr + user * M + d, w, mask=d < M)

    return ridge_kernel
