"""K1b: the adapter's part alone, added to a base that is there: ``y_i = base_i + scale · (x_i A_tᵀ) B_tᵀ``.

Shapes, numerics and source as in `metarec_sdk.kernels.linear_adapter`; base [N, d_out]. For layers wider than
256, whose base product a vendor library does best. One program per tile of rows of one task: it contracts x
with A once and keeps s in registers while it walks over the output in blocks of columns.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels import launch
from metarec_sdk.kernels.adapter_arguments import autocasted
from metarec_sdk.kernels.plan import TaskPlan
from metarec_sdk.kernels.task_matmul import compute_matmul

tl: Any = None  # triton.language once a kernel is built


def adapter_add(
    base: Tensor, x: Tensor, a: Tensor, b: Tensor, plan: TaskPlan, *, scale: float = 1.0
) -> Tensor:
    """y [N, d_out] from base [N, d_out], x [N, d_in], a [T, r, d_in] and b [T, d_out, r]; see the module.

    The derivative of base is that of y. Raises `ArgumentError` where shapes, dtypes or devices don't fit.
    """
    from metarec_sdk.kernels.linear_adapter import linear_adapter

    if base.shape != (x.shape[0], b.shape[1]):
        raise ArgumentError(f"base must be {[x.shape[0], b.shape[1]]}, got {list(base.shape)}")
    base = autocasted(base)
    return base + linear_adapter(x, None, a, b, plan, scale=scale)


def launch_adapter_add(
    base: Tensor | None,
    x: Tensor,
    extra: Tensor | None,
    a: Tensor,
    b: Tensor,
    plan: TaskPlan,
    alpha: float,
    beta: float,
) -> tuple[Tensor, Tensor]:
    """(y [N, d_out], s [N, r]) with ``s = extra + α x A_tᵀ`` and ``y = base + β s B_tᵀ``."""
    (d_out, r), (n, d_in) = b.shape[1:], x.shape
    x = x.contiguous()
    if r > launch.WIDEST_RANK:
        s = alpha * compute_matmul(x, a.mT, plan)
        s = s if extra is None else s + extra * plan.with_task(extra)
        y = beta * compute_matmul(s, b.mT, plan)
        return (y if base is None else base + y), s
    y, s = x.new_empty(n, d_out), x.new_empty(n, r)
    if not n:
        return y, s
    rows = launch.rows_at_once(plan.block_rows, r, x.dtype)
    kernel()[(plan.tiles.shape[1], plan.block_rows // rows)](
        None if base is None else base.contiguous(), x, None if extra is None else extra.contiguous(),
        a, 0 if a.shape[0] == 1 else a.stride(0), *a.stride()[1:],
        b, 0 if b.shape[0] == 1 else b.stride(0), *b.stride()[1:],
        y, s, plan.order, plan.offsets, plan.tiles, plan.tiles.shape[1], d_in, d_out, r, alpha, beta,
        HAS_BASE=base is not None, HAS_EXTRA=extra is not None, HAS_ORDER=plan.order is not None,
        BLOCK_M=rows, BLOCK_K=launch.contraction_block(d_in, x.dtype),
        BLOCK_N=min(launch.power_of_two(d_out), 128), BLOCK_R=launch.power_of_two(r),
        ACCUMULATOR=launch.accumulator(x.dtype), PRECISION=launch.dot_precision(),
        **launch.options(128, x.dtype),
    )  # fmt: skip
    return y, s


@functools.cache
def kernel() -> Any:
    """The Triton kernel, built on first use."""
    global tl
    import triton
    import triton.language as tl

    @triton.jit
    def adapter_add_kernel(
        base_ptr, x_ptr, extra_ptr, a_ptr, a_task, a_r, a_k, b_ptr, b_task, b_n, b_r,
        y_ptr, s_ptr, order_ptr, offsets_ptr, tiles_ptr, n_tiles, K, N, R, alpha, beta,
        HAS_BASE: tl.constexpr, HAS_EXTRA: tl.constexpr, HAS_ORDER: tl.constexpr, BLOCK_M: tl.constexpr,
        BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_R: tl.constexpr, ACCUMULATOR: tl.constexpr,
        PRECISION: tl.constexpr,
    ):  # fmt: skip
        tile = tl.program_id(0)
        task = tl.load(tiles_ptr + tile)
        if task == -2:
            return
        places = tl.load(tiles_ptr + n_tiles + tile) + tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
        inside = places < tl.load(offsets_ptr + task + 2)
        rows = places.to(tl.int64)
        if HAS_ORDER:
            rows = tl.load(order_ptr + places, mask=inside, other=0)
        r = tl.arange(0, BLOCK_R)
        rank = tl.where(task >= 0, R, 0)  # without a task the adapter is empty
        low = tl.zeros((BLOCK_M, BLOCK_R), ACCUMULATOR)
        if task >= 0:
            down = a_ptr + task.to(tl.int64) * a_task
            for start in range(0, K, BLOCK_K):
                k = start + tl.arange(0, BLOCK_K)
                x = tl.load(
                    x_ptr + rows[:, None] * K + k[None, :], mask=inside[:, None] & (k < K)[None, :], other=0.0
                )
                a = tl.load(
                    down + k[:, None] * a_k + r[None, :] * a_r,
                    mask=(k < K)[:, None] & (r < R)[None, :],
                    other=0.0,
                )
                low = tl.dot(x, a, low, input_precision=PRECISION, out_dtype=ACCUMULATOR)
        low = low * alpha
        at_low = rows[:, None] * R + r[None, :]
        mask_low = inside[:, None] & (r < R)[None, :]
        if HAS_EXTRA:
            low += tl.load(extra_ptr + at_low, mask=inside[:, None] & (r < rank)[None, :], other=0.0).to(
                ACCUMULATOR
            )
        rounded = low.to(s_ptr.dtype.element_ty)
        tl.store(s_ptr + at_low, rounded, mask=mask_low)
        up = b_ptr + tl.maximum(task, 0).to(tl.int64) * b_task
        for start in range(0, N, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)
            b = tl.load(
                up + r[:, None] * b_r + n[None, :] * b_n,
                mask=(r < rank)[:, None] & (n < N)[None, :],
                other=0.0,
            )
            total = beta * tl.dot(rounded, b, input_precision=PRECISION, out_dtype=ACCUMULATOR)
            at = rows[:, None] * N + n[None, :]
            mask = inside[:, None] & (n < N)[None, :]
            if HAS_BASE:
                total += tl.load(base_ptr + at, mask=mask, other=0.0).to(ACCUMULATOR)
            tl.store(y_ptr + at, total.to(y_ptr.dtype.element_ty), mask=mask)

    return adapter_add_kernel
