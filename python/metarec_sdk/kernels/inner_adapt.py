"""K4: the inner loop of meta-learning, S steps of every task on its own support rows at once.

Row i of task t has x_i [d_in], base_i [d_out] (0 where absent) and the output
``o_i = base_i + scale · (x_i A_tᵀ) B_tᵀ``, A_t [r, d_in], B_t [d_out, r]. From a start that tasks share
[1, …] (the meta-learned parent) or have of their own [T, …], step s subtracts ``rates[s]`` times the gradient
of the mean over the task's rows of a loss of `metarec_sdk.kernels.inner_losses`; with ``adapts="both"`` A and
B move, with ``"b"`` B alone (ANIL, Raghu et al., ICLR 2020, where A is the shared representation). A task
without rows keeps its start exactly; rows without a task (-1) are ignored.

order=2: the result's derivatives are exact, through all steps (MAML, Finn et al., ICML 2017), in A_0, B_0,
rates, x and base. order=1: every step's gradient counts as a constant (first-order MAML, section 5.2 there),
so that the derivative in the start is the identity, and x and base have none. Reptile (Nichol et al., 2018)
needs no derivative: call it under `torch.no_grad`. The derivatives can't be differentiated again.

x is bf16, fp16, fp32 or fp64; every other floating input has its dtype or float32 (A and B the same one,
which is also the result's), all float64 for float64. Steps are taken in fp32 (fp64), products round operands
to the dtype of x. On a GPU one program per task holds its adapter in registers over all steps
(`metarec_sdk.kernels.inner_kernels`) up to ``r (d_in + d_out)`` of 4,096, each padded to a power of two of at
least 16 (r = 16 at widths of 128; derivatives in fp32 where both adapt: half of it); beyond, and for
derivatives in x or base, the steps run as batched
products over tasks (`metarec_sdk.kernels.inner_batched`), as they do on a CPU.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels.inner_arguments import check_inner
from metarec_sdk.kernels.inner_batched import (
    Inputs,
    Needed,
    batched_adapt,
    batched_first_order,
    batched_second_order,
    real_type,
)
from metarec_sdk.kernels.inner_kernels import holds, launch_adapt, launch_derivatives
from metarec_sdk.kernels.inner_losses import InnerLoss
from metarec_sdk.kernels.plan import TaskPlan


def inner_adapt(
    x: Tensor,
    a: Tensor,
    b: Tensor,
    plan: TaskPlan,
    loss: InnerLoss,
    rates: Tensor,
    *,
    base: Tensor | None = None,
    scale: float = 1.0,
    adapts: Literal["b", "both"] = "both",
    order: Literal[1, 2] = 2,
) -> tuple[Tensor, Tensor]:
    """(A' [T, r, d_in], B' [T, d_out, r]) after S steps; ``a`` itself in the place of A' where only B adapts.

    x [N, d_in], a [T or 1, r, d_in], b [T or 1, d_out, r], rates [S], base [N, d_out]; see the module.

    Raises `ArgumentError` where shapes, dtypes or devices don't fit together, and where a tensor of the loss
    requires a gradient that order 2 would have to give.
    """
    check_inner(x, a, b, plan, loss, rates, base, adapts, order)
    both = adapts == "both"
    found: tuple[Tensor, Tensor]
    if torch.compiler.is_compiling():
        found = adapt_operator(
            x, base, a, b, rates, *loss.tensors(), *plan.tensors(), loss.name, scale, both, order
        )
    else:
        found = _Adapt.apply(x, base, a, b, rates, loss, plan, scale, both, order)
    return (found[0] if both else a), found[1]


def inner_adapt_reference(
    x: Tensor,
    a: Tensor,
    b: Tensor,
    tasks: Tensor,
    n_tasks: int,
    loss: InnerLoss,
    rates: Tensor,
    *,
    base: Tensor | None = None,
    scale: float = 1.0,
    adapts: Literal["b", "both"] = "both",
    order: Literal[1, 2] = 2,
) -> tuple[Tensor, Tensor]:
    """The same in plain torch, every row with copies of its matrices, and derivatives of any order by
    autograd through the steps; tasks i64[N], -1 for none."""
    row, has = tasks.clamp(min=0), tasks >= 0
    weights = has / torch.bincount(tasks[has], minlength=n_tasks).to(x.dtype)[row].clamp(min=1)  # [N]
    moving = [b.expand(n_tasks, -1, -1)]
    if adapts == "both":
        moving.append(a.expand(n_tasks, -1, -1))
    for rate in rates.unbind():
        with torch.enable_grad():
            leaves = [value if order == 2 and value.requires_grad else _leaf(value) for value in moving]
            own = (leaves[1] if adapts == "both" else a.expand(n_tasks, -1, -1))[row]  # [N, r, d_in]
            o = scale * torch.einsum("nor,nrd,nd->no", leaves[0][row], own, x)
            total = (loss.values(o if base is None else o + base) * weights).sum()
            gradients = torch.autograd.grad(total, leaves, create_graph=order == 2)
        moving = [value - rate * gradient for value, gradient in zip(moving, gradients)]
    return (moving[1] if adapts == "both" else a), moving[0]


def _leaf(value: Tensor) -> Tensor:
    return value.detach().requires_grad_()


def compute_adapt(given: Inputs) -> tuple[Tensor, Tensor]:
    """(A' or a tensor of shape [0] where A doesn't adapt, B') without derivatives."""
    if holds(given):
        return launch_adapt(given)
    with torch.autocast(given.x.device.type, enabled=False):
        a, b = batched_adapt(given)
    return (_own(a, given.a) if given.adapts_a else given.a.new_empty(0)), _own(b, given.b)


def _own(value: Tensor, like: Tensor) -> Tensor:
    """A result in memory of its own."""
    return value.to(like.dtype, copy=value._is_view() or value is like)


def compute_derivatives(
    given: Inputs, for_a: Tensor, for_b: Tensor, order: int, needed: Needed
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of x, base, a, b and rates; what isn't needed has shape [0]."""
    real = real_type(given.x.dtype)
    n_tasks, (r, d_in) = given.plan.n_tasks, given.a.shape[1:]
    for_b = for_b.to(real)
    for_a = for_a.to(real) if given.adapts_a else for_b.new_zeros(n_tasks, r, d_in)
    dx = dbase = drates = None
    da: Tensor | None = for_a
    db: Tensor | None = for_b
    with torch.autocast(given.x.device.type, enabled=False):
        if order == 1:
            if needed.rates:
                drates = (
                    launch_derivatives(given, for_a, for_b, order, needed)[2]
                    if holds(given, derivatives=True)
                    else batched_first_order(given, for_a, for_b)
                )
        elif holds(given, derivatives=True) and not (needed.x or needed.base):
            da, db, drates = launch_derivatives(given, for_a, for_b, order, needed)
        else:
            dx, dbase, da, db, drates = batched_second_order(given, for_a, for_b, needed)
        found = []
        for value, wanted, like in zip(
            (dx, dbase, da, db, drates), needed, (given.x, given.base, given.a, given.b, given.rates)
        ):
            if not wanted or like is None:
                found.append(given.x.new_empty(0))
                continue
            value = like.new_zeros(like.shape) if value is None else value
            if value.shape != like.shape:
                value = value.sum(0, keepdim=True)  # of a start that tasks share
            found.append(value.to(like.dtype, copy=value is for_a or value is for_b))
    dx, dbase, da, db, drates = found
    return dx, dbase, da, db, drates


class _Adapt(torch.autograd.Function):
    @staticmethod
    def forward(
        x: Tensor,
        base: Tensor | None,
        a: Tensor,
        b: Tensor,
        rates: Tensor,
        loss: InnerLoss,
        plan: TaskPlan,
        scale: float,
        adapts_a: bool,
        order: int,
    ) -> tuple[Tensor, Tensor]:
        return compute_adapt(Inputs(x, base, a, b, rates, loss.name, loss.tensors(), plan, scale, adapts_a))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *saved, ctx.loss, ctx.plan, ctx.scale, ctx.adapts_a, ctx.order = inputs
        ctx.save_for_backward(*saved)

    @staticmethod
    def backward(ctx: Any, for_a: Tensor, for_b: Tensor) -> tuple[Tensor | None, ...]:
        needed = Needed(*ctx.needs_input_grad[:5])
        rest = ctx.loss, ctx.plan, ctx.scale, ctx.adapts_a, ctx.order, needed
        found = _Derivatives.apply(*ctx.saved_tensors, for_a, for_b, *rest)
        return *_of_needed(found, needed), *[None] * 5


class _Derivatives(torch.autograd.Function):
    @staticmethod
    def forward(
        x: Tensor,
        base: Tensor | None,
        a: Tensor,
        b: Tensor,
        rates: Tensor,
        for_a: Tensor,
        for_b: Tensor,
        loss: InnerLoss,
        plan: TaskPlan,
        scale: float,
        adapts_a: bool,
        order: int,
        needed: Needed,
    ) -> tuple[Tensor, ...]:
        given = Inputs(x, base, a, b, rates, loss.name, loss.tensors(), plan, scale, adapts_a)
        return compute_derivatives(given, for_a, for_b, order, needed)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise ArgumentError(
            "the derivatives of inner_adapt can't be differentiated again; leave create_graph out, or use "
            "inner_adapt_reference"
        )


def _of_needed(found: tuple[Tensor, ...], needed: Needed) -> list[Tensor | None]:
    return [value if wanted else None for value, wanted in zip(found, needed)]


@torch.library.custom_op("metarec::inner_adapt", mutates_args=())
def adapt_operator(
    x: Tensor,
    base: Tensor | None,
    a: Tensor,
    b: Tensor,
    rates: Tensor,
    first: Tensor,
    second: Tensor | None,
    third: Tensor | None,
    order: Tensor | None,
    offsets: Tensor,
    tiles: Tensor,
    chunks: Tensor,
    block_rows: int,
    loss: str,
    scale: float,
    adapts_a: bool,
    derivative_order: int,
) -> tuple[Tensor, Tensor]:
    """`inner_adapt` for compilers."""
    plan = TaskPlan.of(x.shape[0], order, offsets, tiles, chunks, block_rows)
    return compute_adapt(Inputs(x, base, a, b, rates, loss, (first, second, third), plan, scale, adapts_a))


@adapt_operator.register_fake
def _(x: Tensor, base: Any, a: Tensor, b: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    n_tasks, adapts_a = rest[5].shape[0] - 2, rest[-2]
    adapted = a.new_empty(n_tasks, *a.shape[1:]) if adapts_a else a.new_empty(0)
    return adapted, b.new_empty(n_tasks, *b.shape[1:])


@torch.library.custom_op("metarec::inner_adapt_derivatives", mutates_args=())
def derivatives_operator(
    x: Tensor,
    base: Tensor | None,
    a: Tensor,
    b: Tensor,
    rates: Tensor,
    first: Tensor,
    second: Tensor | None,
    third: Tensor | None,
    order: Tensor | None,
    offsets: Tensor,
    tiles: Tensor,
    chunks: Tensor,
    for_a: Tensor,
    for_b: Tensor,
    block_rows: int,
    loss: str,
    scale: float,
    adapts_a: bool,
    derivative_order: int,
    needed: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The derivatives of `inner_adapt` for compilers."""
    plan = TaskPlan.of(x.shape[0], order, offsets, tiles, chunks, block_rows)
    given = Inputs(x, base, a, b, rates, loss, (first, second, third), plan, scale, adapts_a)
    return compute_derivatives(given, for_a, for_b, derivative_order, Needed(*needed))


@derivatives_operator.register_fake
def _(x: Tensor, base: Any, a: Tensor, b: Tensor, rates: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return tuple(
        value.new_empty(value.shape) if wanted and value is not None else x.new_empty(0)
        for value, wanted in zip((x, base, a, b, rates), rest[-1])
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *saved, ctx.block_rows, ctx.loss, ctx.scale, ctx.adapts_a, ctx.order = inputs
    ctx.save_for_backward(*saved)


def _backward(ctx: Any, for_a: Tensor, for_b: Tensor) -> tuple[Tensor | None, ...]:
    needed = Needed(*ctx.needs_input_grad[:5])
    rest = ctx.block_rows, ctx.loss, ctx.scale, ctx.adapts_a, ctx.order, list(needed)
    found = derivatives_operator(*ctx.saved_tensors, for_a, for_b, *rest)
    return *_of_needed(found, needed), *[None] * 12


adapt_operator.register_autograd(_backward, setup_context=_setup)
