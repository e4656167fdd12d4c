"""K3: gradients of the low-rank matrices of every task, in one pass over the rows; see `gradient_kernels`.

For ``s = x A_tᵀ`` and ``y = scale · s B_tᵀ`` with ∂s including what comes through y:
``∂A_t = Σ_{i ∈ t} ∂s_iᵀ x_i`` [T, r, d_in] and ``∂B_t = scale · Σ_{i ∈ t} ∂y_iᵀ s_i`` [T, d_out, r]. A shared
A or B [1, …] sums over all rows that have a task. Deterministic; 0 for tasks without rows. A compact form
returns the present tasks only, and `adapter_step_` applies the step of the optimiser without storing a
gradient at all: below about 0.67 r rows a task the adapters and their gradients are most of the bytes moved.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels import launch
from metarec_sdk.kernels.gradient_kernels import Step, launch_pair
from metarec_sdk.kernels.plan import PlanTensors, TaskPlan
from metarec_sdk.kernels.signature import known_signature
from metarec_sdk.kernels.task_matmul import matmul
from metarec_sdk.kernels.task_outer import shared_outer


def adapter_gradients(
    ds: Tensor,
    x: Tensor,
    dy: Tensor,
    s: Tensor,
    plan: TaskPlan,
    *,
    scale: float = 1.0,
    shared_a: bool = False,
    shared_b: bool = False,
) -> tuple[Tensor, Tensor]:
    """(∂A [T, r, d_in], ∂B [T, d_out, r]) from ds [N, r], x [N, d_in], dy [N, d_out] and s [N, r].

    ds and s are 0 for rows without a task, as `linear_adapter` gives them.
    """
    _check(ds, x, dy, s, plan)
    registered = torch.compiler.is_compiling()
    return gradients(
        ds,
        x,
        dy,
        s,
        plan,
        1.0,
        scale,
        shared=(shared_a, shared_b),
        needed=(True, True),
        registered=registered,
    )


def adapter_gradients_of_present(
    ds: Tensor, x: Tensor, dy: Tensor, s: Tensor, plan: TaskPlan, *, scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """(tasks i64[p], ∂A [p, r, d_in], ∂B [p, d_out, r]): only the p tasks that have rows, ascending.

    Waits for the device, as p isn't known before.
    """
    _check(ds, x, dy, s, plan)
    present, compact = plan.present
    return present, *compute_gradients(ds, x, dy, s, compact, 1.0, scale, (False, False), (True, True))


@torch.no_grad()
def adapter_step_(
    a: Tensor,
    b: Tensor,
    ds: Tensor,
    x: Tensor,
    dy: Tensor,
    s: Tensor,
    plan: TaskPlan,
    *,
    scale: float = 1.0,
    rate: float,
    decay: float = 0.0,
) -> None:
    """One step of stochastic gradient descent on A [T, r, d_in] and B [T, d_out, r], in place:
    ``W ← W (1 − rate · decay) − rate · ∂W`` for the tasks that have rows; the others aren't touched.
    """
    _check(ds, x, dy, s, plan)
    r = ds.shape[1]
    for name, value, shape in (("a", a, (r, x.shape[1])), ("b", b, (dy.shape[1], r))):
        if value.shape != (plan.n_tasks, *shape) or value.dtype != x.dtype:
            raise ArgumentError(
                f"{name} must be {x.dtype} {[plan.n_tasks, *shape]}, got {value.dtype} {list(value.shape)}"
            )
    if launch.runs_kernel(x):
        _launch(ds, x, dy, s, plan, a, b, 1.0, scale, Step(rate, decay))
        return
    tasks, for_a, for_b = adapter_gradients_of_present(ds, x, dy, s, plan, scale=scale)
    for value, gradient in ((a, for_a), (b, for_b)):
        kept = value.index_select(0, tasks) * (1 - rate * decay) - rate * gradient
        value.index_copy_(0, tasks, kept)


def gradients(
    ds: Tensor,
    x: Tensor,
    dy: Tensor,
    s: Tensor,
    plan: TaskPlan,
    alpha: float,
    beta: float,
    *,
    shared: tuple[bool, bool],
    needed: tuple[bool, bool],
    registered: bool,
) -> tuple[Tensor, Tensor]:
    """``α Σ ds_iᵀ x_i`` and ``β Σ dy_iᵀ s_i``; what isn't needed has shape [0]."""
    found: tuple[Tensor, Tensor]
    if registered:
        found = gradients_operator(ds, x, dy, s, *plan.tensors(), alpha, beta, *shared, *needed)
    else:
        found = _Gradients.apply(ds, x, dy, s, plan, alpha, beta, shared, needed)
    return found


def compute_gradients(
    ds: Tensor,
    x: Tensor,
    dy: Tensor,
    s: Tensor,
    plan: TaskPlan,
    alpha: float,
    beta: float,
    shared: tuple[bool, bool],
    needed: tuple[bool, bool],
) -> tuple[Tensor, Tensor]:
    """The values, without derivatives."""
    own = tuple(wanted and not common for wanted, common in zip(needed, shared))
    for_a, for_b = x.new_empty(0), x.new_empty(0)
    if launch.runs_kernel(x) and any(own):
        t, r = plan.n_tasks, ds.shape[1]
        for_a = x.new_empty(t, r, x.shape[1]) if own[0] else for_a
        for_b = x.new_empty(t, dy.shape[1], r) if own[1] else for_b
        _launch(ds, x, dy, s, plan, for_a if own[0] else None, for_b if own[1] else None, alpha, beta, None)
    elif any(own):
        grouping = plan.grouping
        if own[0]:
            for_a = grouping.outer(grouping.sort(ds), grouping.sort(x), plan.n_tasks).mul_(alpha)
        if own[1]:
            for_b = grouping.outer(grouping.sort(dy), grouping.sort(s), plan.n_tasks).mul_(beta)
    if needed[0] and shared[0]:
        for_a = alpha * shared_outer(ds, x, plan, masked=True)
    if needed[1] and shared[1]:
        for_b = beta * shared_outer(dy, s, plan, masked=True)
    return for_a, for_b


def _launch(
    ds: Tensor,
    x: Tensor,
    dy: Tensor,
    s: Tensor,
    plan: TaskPlan,
    a: Tensor | None,
    b: Tensor | None,
    alpha: float,
    beta: float,
    step: Step | None,
) -> None:
    if ds.shape[1] <= launch.WIDEST_RANK:
        launch_pair(
            None if a is None else (ds, x, a, alpha), None if b is None else (s, dy, b.mT, beta), plan, step
        )
        return
    for start in range(0, ds.shape[1], launch.WIDEST_RANK):
        part = slice(start, start + launch.WIDEST_RANK)
        launch_pair(
            None if a is None else (ds[:, part], x, a[:, part], alpha),
            None if b is None else (s[:, part], dy, b.mT[:, part], beta),
            plan,
            step,
        )


def _check(ds: Tensor, x: Tensor, dy: Tensor, s: Tensor, plan: TaskPlan) -> None:
    rows = {value.shape[0] for value in (ds, x, dy, s)}
    if rows != {plan.n_rows} or ds.shape != s.shape or {value.ndim for value in (ds, x, dy)} != {2}:
        raise ArgumentError(
            f"ds and s must be [N, r], x [N, d_in] and dy [N, d_out] with N = {plan.n_rows} rows of the "
            f"plan, got {[list(value.shape) for value in (ds, s, x, dy)]}"
        )
    if len({(value.dtype, value.device) for value in (ds, x, dy, s)}) > 1:
        raise ArgumentError(
            f"all tensors must have one dtype and device, got {ds.dtype}, {x.dtype}, {dy.dtype}"
        )


class _Gradients(torch.autograd.Function):
    @staticmethod
    @known_signature
    def forward(
        ds: Tensor,
        x: Tensor,
        dy: Tensor,
        s: Tensor,
        plan: TaskPlan,
        alpha: float,
        beta: float,
        shared: tuple[bool, bool],
        needed: tuple[bool, bool],
    ) -> tuple[Tensor, Tensor]:
        return compute_gradients(ds, x, dy, s, plan, alpha, beta, shared, needed)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ds, x, dy, s, ctx.plan, ctx.alpha, ctx.beta, _, ctx.computed = inputs
        ctx.save_for_backward(ds, x, dy, s)

    @staticmethod
    def backward(ctx: Any, for_a: Tensor, for_b: Tensor) -> tuple[Tensor | None, ...]:
        found = _derivatives(ctx, ctx.saved_tensors, for_a, for_b, ctx.plan, registered=False)
        return *found, None, None, None, None, None


def _derivatives(
    ctx: Any, saved: Any, for_a: Tensor, for_b: Tensor, plan: TaskPlan, *, registered: bool
) -> tuple[Tensor | None, ...]:
    """Of ds, x, dy and s, given those of the two outputs."""
    ds, x, dy, s = saved
    need = ctx.needs_input_grad
    found: list[Tensor | None] = [None, None, None, None]
    if ctx.computed[0]:
        if need[0]:
            found[0] = ctx.alpha * matmul(x, for_a.mT, plan, registered=registered)
        if need[1]:
            found[1] = ctx.alpha * matmul(ds, for_a, plan, registered=registered)
    if ctx.computed[1]:
        if need[2]:
            found[2] = ctx.beta * matmul(s, for_b.mT, plan, registered=registered)
        if need[3]:
            found[3] = ctx.beta * matmul(dy, for_b, plan, registered=registered)
    return tuple(found)


@torch.library.custom_op("metarec::adapter_gradients", mutates_args=())
def gradients_operator(
    ds: Tensor,
    x: Tensor,
    dy: Tensor,
    s: Tensor,
    order: Tensor | None,
    offsets: Tensor,
    tiles: Tensor,
    chunks: Tensor,
    block_rows: int,
    alpha: float,
    beta: float,
    shared_a: bool,
    shared_b: bool,
    need_a: bool,
    need_b: bool,
) -> tuple[Tensor, Tensor]:
    """`gradients` for compilers."""
    plan = TaskPlan.of(x.shape[0], order, offsets, tiles, chunks, block_rows)
    return compute_gradients(ds, x, dy, s, plan, alpha, beta, (shared_a, shared_b), (need_a, need_b))


@gradients_operator.register_fake
def _(ds: Tensor, x: Tensor, dy: Tensor, s: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    n_tasks = rest[1].shape[0] - 2
    shared_a, shared_b, need_a, need_b = rest[-4:]
    for_a = x.new_empty(1 if shared_a else n_tasks, ds.shape[1], x.shape[1])
    for_b = x.new_empty(1 if shared_b else n_tasks, dy.shape[1], ds.shape[1])
    return for_a if need_a else x.new_empty(0), for_b if need_b else x.new_empty(0)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *saved, ctx.block_rows, ctx.alpha, ctx.beta, _, _, need_a, need_b = inputs
    ctx.computed = need_a, need_b
    ctx.save_for_backward(*saved)


def _backward(ctx: Any, for_a: Tensor, for_b: Tensor) -> tuple[Tensor | None, ...]:
    *saved, order, offsets, tiles, chunks = ctx.saved_tensors
    tensors: PlanTensors = order, offsets, tiles, chunks, ctx.block_rows
    plan = TaskPlan.of(saved[0].shape[0], *tensors)
    return *_derivatives(ctx, saved, for_a, for_b, plan, registered=True), *[None] * 11


gradients_operator.register_autograd(_backward, setup_context=_setup)
