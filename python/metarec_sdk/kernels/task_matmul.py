"""Rows times the matrix of their task: ``y_i = x_i M_{t(i)}``.

x [N, k], M [T, k, n] (or [1, k, n], shared by all tasks), y [N, n]; a row without a task gives 0. All of one
dtype, bf16, fp16, fp32 or fp64; sums run in fp32 (fp64 for fp64). ``∂x = ∂y Mᵀ`` is the same operation and
``∂M_t = Σ_{i ∈ t} x_iᵀ ∂y_i`` is `task_outer`, so derivatives of any order exist.

The kernel gives each tile of rows of one task and each block of output columns to one program; the rows'
places come from the plan, as in grouped GEMM with a tile list (Liger-Kernel's fused mixture of experts).
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels import launch
from metarec_sdk.kernels.plan import TaskPlan
from metarec_sdk.kernels.signature import known_signature

tl: Any = None  # triton.language once a kernel is built


def task_matmul(x: Tensor, matrices: Tensor, plan: TaskPlan) -> Tensor:
    """[N, n] from x [N, k] and matrices [T, k, n]; see the module.

    Raises `ArgumentError` where shapes or dtypes don't fit together.
    """
    check_matrices(x, matrices, plan)
    return matmul(x, matrices, plan, registered=torch.compiler.is_compiling())


def task_matmul_reference(x: Tensor, matrices: Tensor, tasks: Tensor) -> Tensor:
    """The same in plain torch, every row with a copy of its matrix; tasks i64[N], -1 for none."""
    gathered = matrices.expand(len(x), -1, -1) if len(matrices) == 1 else matrices[tasks.clamp(min=0)]
    return torch.einsum("nk,nkm->nm", x, gathered) * (tasks >= 0)[:, None]


def check_matrices(x: Tensor, matrices: Tensor, plan: TaskPlan) -> None:
    """Raise `ArgumentError` unless x [N, k] and matrices [T or 1, k, n] fit the plan."""
    if x.ndim != 2 or matrices.ndim != 3 or x.shape[1] != matrices.shape[1]:
        raise ArgumentError(
            f"x must be [N, k] and matrices [T, k, n], got {list(x.shape)} and {list(matrices.shape)}"
        )
    if x.shape[0] != plan.n_rows or matrices.shape[0] not in (1, plan.n_tasks):
        raise ArgumentError(
            f"the plan is for {plan.n_rows} rows in {plan.n_tasks} tasks, got {x.shape[0]} rows and "
            f"{matrices.shape[0]} matrices"
        )
    if x.dtype != matrices.dtype or x.device != matrices.device:
        raise ArgumentError(
            f"x and matrices must have one dtype and device, got {x.dtype} on {x.device} and "
            f"{matrices.dtype} on {matrices.device}"
        )


def matmul(x: Tensor, matrices: Tensor, plan: TaskPlan, *, registered: bool) -> Tensor:
    """The operation as a registered operator, as compilers need it, or as an `autograd.Function`."""
    out: Tensor
    out = matmul_operator(x, matrices, *plan.tensors()) if registered else _Matmul.apply(x, matrices, plan)
    return out


def compute_matmul(x: Tensor, matrices: Tensor, plan: TaskPlan) -> Tensor:
    """The values, without derivatives."""
    if launch.runs_kernel(x):
        return _launch(x, matrices, plan)
    grouping = plan.grouping
    if matrices.shape[0] == 1:
        out = x @ matrices[0]
        return out if grouping.n_with_task == plan.n_rows else out * plan.with_task(out)
    return grouping.unsort(grouping.multiply(grouping.sort(x), matrices))


class _Matmul(torch.autograd.Function):
    @staticmethod
    @known_signature
    def forward(x: Tensor, matrices: Tensor, plan: TaskPlan) -> Tensor:
        return compute_matmul(x, matrices, plan)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, matrices, ctx.plan = inputs
        ctx.save_for_backward(x, matrices)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, matrices = ctx.saved_tensors
        return *_derivatives(x, matrices, gradient, ctx.plan, ctx.needs_input_grad, registered=False), None


def _derivatives(
    x: Tensor, matrices: Tensor, gradient: Tensor, plan: TaskPlan, needed: Any, *, registered: bool
) -> tuple[Tensor | None, Tensor | None]:
    from metarec_sdk.kernels.task_outer import outer

    for_x = matmul(gradient, matrices.mT, plan, registered=registered) if needed[0] else None
    shared = matrices.shape[0] == 1
    for_matrices = outer(x, gradient, plan, shared=shared, registered=registered) if needed[1] else None
    return for_x, for_matrices


@torch.library.custom_op("metarec::task_matmul", mutates_args=())
def matmul_operator(
    x: Tensor,
    matrices: Tensor,
    order: Tensor | None,
    offsets: Tensor,
    tiles: Tensor,
    chunks: Tensor,
    block_rows: int,
) -> Tensor:
    """`task_matmul` for compilers."""
    plan = TaskPlan.of(x.shape[0], order, offsets, tiles, chunks, block_rows)
    return compute_matmul(x, matrices, plan)


@matmul_operator.register_fake
def _(x: Tensor, matrices: Tensor, *plan: Any) -> Tensor:
    return x.new_empty(x.shape[0], matrices.shape[2])


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, matrices, order, offsets, tiles, chunks, ctx.block_rows = inputs
    ctx.save_for_backward(x, matrices, order, offsets, tiles, chunks)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, matrices, order, offsets, tiles, chunks = ctx.saved_tensors
    plan = TaskPlan.of(x.shape[0], order, offsets, tiles, chunks, ctx.block_rows)
    found = _derivatives(x, matrices, gradient, plan, ctx.needs_input_grad, registered=True)
    return *found, None, None, None, None, None


matmul_operator.register_autograd(_backward, setup_context=_setup)


def _launch(x: Tensor, matrices: Tensor, plan: TaskPlan) -> Tensor:
    n = matrices.shape[2]
    x = x.contiguous()
    out = torch.empty(x.shape[0], n, dtype=x.dtype, device=x.device)
    block_n = min(launch.power_of_two(n), 128)
    if not out.numel():
        return out
    task_stride = 0 if matrices.shape[0] == 1 else matrices.stride(0)
    kernel()[(plan.tiles.shape[1], -(-n // block_n))](
        x,
        matrices,
        out,
        plan.order,
        plan.offsets,
        plan.tiles,
        plan.tiles.shape[1],
        x.shape[1],
        n,
        task_stride,
        matrices.stride(1),
        matrices.stride(2),
        HAS_ORDER=plan.order is not None,
        BLOCK_M=plan.block_rows,
        BLOCK_K=launch.contraction_block(x.shape[1], x.dtype),
        BLOCK_N=block_n,
        ACCUMULATOR=launch.accumulator(x.dtype),
        PRECISION=launch.dot_precision(),
        **launch.options(block_n, x.dtype),
    )
    return out


@functools.cache
def kernel() -> Any:
    """The Triton kernel, built on first use."""
    global tl
    import triton
    import triton.language as tl

    @triton.jit
    def task_matmul_kernel(
        x_ptr, m_ptr, y_ptr, order_ptr, offsets_ptr, tiles_ptr, n_tiles, K, N, m_task, m_k, m_n,
        HAS_ORDER: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
        ACCUMULATOR: tl.constexpr, PRECISION: tl.constexpr,
    ):  # fmt: skip
        tile = tl.program_id(0)
        task = tl.load(tiles_ptr + tile)
        if task == -2:
            return
        places = tl.load(tiles_ptr + n_tiles + tile) + tl.arange(0, BLOCK_M)
        inside = places < tl.load(offsets_ptr + task + 2)
        rows = places.to(tl.int64)
        if HAS_ORDER:
            rows = tl.load(order_ptr + places, mask=inside, other=0)
        columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
        total = tl.zeros((BLOCK_M, BLOCK_N), ACCUMULATOR)
        if task >= 0:
            matrix = m_ptr + task.to(tl.int64) * m_task
            for start in range(0, K, BLOCK_K):
                k = start + tl.arange(0, BLOCK_K)
                x = tl.load(
                    x_ptr + rows[:, None] * K + k[None, :], mask=inside[:, None] & (k < K)[None, :], other=0.0
                )
                m = tl.load(
                    matrix + k[:, None] * m_k + columns[None, :] * m_n,
                    mask=(k < K)[:, None] & (columns < N)[None, :],
                    other=0.0,
                )
                total = tl.dot(x, m, total, input_precision=PRECISION, out_dtype=ACCUMULATOR)
        tl.store(
            y_ptr + rows[:, None] * N + columns[None, :],
            total.to(y_ptr.dtype.element_ty),
            mask=inside[:, None] & (columns < N)[None, :],
        )

    return task_matmul_kernel
