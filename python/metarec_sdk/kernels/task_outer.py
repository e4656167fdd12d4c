"""Sums of outer products over the rows of each task: ``P_t = Σ_{i ∈ t} x_iᵀ y_i``.

x [N, k], y [N, n], P [T, k, n], exactly 0 for a task without rows; ``shared`` sums over all rows that have a
task: P [1, k, n]. All of one dtype; sums run in fp32 (fp64 for fp64). ``∂x_i = y_i ∂P_tᵀ`` and
``∂y_i = x_i ∂P_t`` are `metarec_sdk.kernels.task_matmul`.

The values don't depend on timing: on a GPU a task's rows are summed in chunks of `CHUNK_ROWS`, each by one
program in fixed order, and the chunks of a long task are added in order by a second kernel; see
`metarec_sdk.kernels.gradient_kernels`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels import launch
from metarec_sdk.kernels.gradient_kernels import launch_outer
from metarec_sdk.kernels.plan import TaskPlan
from metarec_sdk.kernels.signature import known_signature
from metarec_sdk.kernels.task_matmul import matmul


def task_outer(x: Tensor, y: Tensor, plan: TaskPlan, *, shared: bool = False) -> Tensor:
    """[T, k, n], or [1, k, n] where shared, from x [N, k] and y [N, n]; see the module.

    Raises `ArgumentError` where shapes or dtypes don't fit together.
    """
    if x.ndim != 2 or y.ndim != 2 or not x.shape[0] == y.shape[0] == plan.n_rows:
        raise ArgumentError(
            f"x must be [N, k] and y [N, n] with N = {plan.n_rows} rows of the plan, got {list(x.shape)} and "
            f"{list(y.shape)}"
        )
    if x.dtype != y.dtype or x.device != y.device:
        raise ArgumentError(
            f"x and y must have one dtype and device, got {x.dtype} on {x.device} and {y.dtype} on {y.device}"
        )
    return outer(x, y, plan, shared=shared, registered=torch.compiler.is_compiling())


def task_outer_reference(x: Tensor, y: Tensor, tasks: Tensor, n_tasks: int) -> Tensor:
    """The same (not shared) in plain torch: every row's product, added up; tasks i64[N], -1 for none."""
    products = x[:, :, None] * y[:, None, :] * (tasks >= 0)[:, None, None]  # [N, k, n]
    return products.new_zeros(n_tasks, *products.shape[1:]).index_add(0, tasks.clamp(min=0), products)


def outer(x: Tensor, y: Tensor, plan: TaskPlan, *, shared: bool, registered: bool) -> Tensor:
    """The operation as a registered operator, as compilers need it, or as an `autograd.Function`."""
    out: Tensor
    out = outer_operator(x, y, *plan.tensors(), shared) if registered else _Outer.apply(x, y, plan, shared)
    return out


def compute_outer(x: Tensor, y: Tensor, plan: TaskPlan, shared: bool) -> Tensor:
    """The values, without derivatives."""
    if shared:
        return shared_outer(x, y, plan)
    if launch.runs_kernel(x):
        return launch_outer(x, y, plan)
    grouping = plan.grouping
    return grouping.outer(grouping.sort(x), grouping.sort(y), plan.n_tasks)


def shared_outer(x: Tensor, y: Tensor, plan: TaskPlan, *, masked: bool = False) -> Tensor:
    """[1, k, n] over all rows with a task; masked: one of the two is known to be 0 where there is none."""
    return torch.mm((x if masked else x * plan.with_task(x)).mT, y)[None]


class _Outer(torch.autograd.Function):
    @staticmethod
    @known_signature
    def forward(x: Tensor, y: Tensor, plan: TaskPlan, shared: bool) -> Tensor:
        return compute_outer(x, y, plan, shared)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, y, ctx.plan, _ = inputs
        ctx.save_for_backward(x, y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, y = ctx.saved_tensors
        return *_derivatives(x, y, gradient, ctx.plan, ctx.needs_input_grad, registered=False), None, None


def _derivatives(
    x: Tensor, y: Tensor, gradient: Tensor, plan: TaskPlan, needed: Any, *, registered: bool
) -> tuple[Tensor | None, Tensor | None]:
    return (
        matmul(y, gradient.mT, plan, registered=registered) if needed[0] else None,
        matmul(x, gradient, plan, registered=registered) if needed[1] else None,
    )


@torch.library.custom_op("metarec::task_outer", mutates_args=())
def outer_operator(
    x: Tensor,
    y: Tensor,
    order: Tensor | None,
    offsets: Tensor,
    tiles: Tensor,
    chunks: Tensor,
    block_rows: int,
    shared: bool,
) -> Tensor:
    """`task_outer` for compilers."""
    plan = TaskPlan.of(x.shape[0], order, offsets, tiles, chunks, block_rows)
    return compute_outer(x, y, plan, shared)


@outer_operator.register_fake
def _(
    x: Tensor,
    y: Tensor,
    order: Tensor | None,
    offsets: Tensor,
    tiles: Tensor,
    chunks: Tensor,
    block_rows: int,
    shared: bool,
) -> Tensor:
    return x.new_empty(1 if shared else offsets.shape[0] - 2, x.shape[1], y.shape[1])


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, y, order, offsets, tiles, chunks, ctx.block_rows, _ = inputs
    ctx.save_for_backward(x, y, order, offsets, tiles, chunks)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, y, order, offsets, tiles, chunks = ctx.saved_tensors
    plan = TaskPlan.of(x.shape[0], order, offsets, tiles, chunks, ctx.block_rows)
    found = _derivatives(x, y, gradient, plan, ctx.needs_input_grad, registered=True)
    return *found, None, None, None, None, None, None


outer_operator.register_autograd(_backward, setup_context=_setup)
