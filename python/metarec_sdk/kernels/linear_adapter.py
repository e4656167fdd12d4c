"""K1 and K2: a linear layer with one low-rank adapter per task, fused.

``y_i = x_i Wᵀ + bias + scale · (x_i A_tᵀ) B_tᵀ`` with t the task of row i: x [N, d_in], W [d_out, d_in],
A [T, r, d_in], B [T, d_out, r] (either may be shared: [1, …]), y [N, d_out]; a row without a task (-1) gets
``x Wᵀ + bias`` (LoRA, Hu et al., ICLR 2022; a batch of mixed adapters: Punica, Chen et al., MLSys 2024).

What is computed in general is ``s = e + α x A_tᵀ`` and ``y = x Wᵀ + bias + β s B_tᵀ`` (both adapter terms
and s are 0 without a task). Its derivative has the same form: with ``ds = ∂s + β ∂y B_t``,
``∂x = ∂y W + α ds A_t`` is the operation with W, A and B transposed and exchanged (K2), ``∂e = ds``, and the
rest is `adapter_gradients` (K3). So derivatives of any order exist.

All inputs have one dtype: bf16, fp16, fp32 or fp64; sums run in fp32 (fp64 for fp64), s is rounded to the
dtype of x before it meets B. On a GPU, up to d_out = 256 one program holds a tile's whole output rows, so
that x is read once and nothing but y and s is written: the traffic is 2 N d elements instead of 5 N d.
Wider layers (than 128 in fp32) take the vendor's product for the base and `adapter_add` for the rest. r is
padded to 16 inside.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from metarec_sdk.kernels import launch
from metarec_sdk.kernels.adapter_add import launch_adapter_add
from metarec_sdk.kernels.adapter_arguments import autocasted, check_adapter
from metarec_sdk.kernels.adapter_gradients import compute_gradients, gradients
from metarec_sdk.kernels.grouped_adapter import batched_adapter, grouped_adapter, grouped_derivatives
from metarec_sdk.kernels.plan import PlanTensors, TaskPlan
from metarec_sdk.kernels.signature import known_signature

tl: Any = None  # triton.language once a kernel is built


def linear_adapter(
    x: Tensor,
    weight: Tensor | None,
    a: Tensor,
    b: Tensor,
    plan: TaskPlan,
    *,
    bias: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """y [N, d_out] from x [N, d_in], weight [d_out, d_in] (None for the adapter's part alone),
    a [T, r, d_in], b [T, d_out, r] and bias [d_out]; see the module. Under autocast inputs are cast as for a
    linear layer.

    Raises `ArgumentError` where shapes, dtypes or devices don't fit together.
    """
    if torch.is_autocast_enabled(x.device.type):
        x, a, b = autocasted(x), autocasted(a), autocasted(b)
        weight = None if weight is None else autocasted(weight)
        bias = None if bias is None else autocasted(bias)
    check_adapter(x, weight, a, b, bias, plan)
    registered = torch.compiler.is_compiling()
    if not registered and not launch.runs_kernel(x) and plan.grouping.is_one_batch:
        delta = batched_adapter(plan.grouping, x, a, b)
        return scale * delta if weight is None else functional.linear(x, weight, bias).add(delta, alpha=scale)
    return linear(x, None, weight, bias, a, b, plan, 1.0, scale, registered=registered)[0]


def linear_adapter_reference(
    x: Tensor, weight: Tensor | None, a: Tensor, b: Tensor, tasks: Tensor, bias: Tensor | None, scale: float
) -> Tensor:
    """The same in plain torch, every row with copies of its matrices; tasks i64[N], -1 for none."""
    row = tasks.clamp(min=0)
    a, b = (value.expand(len(x), -1, -1) if len(value) == 1 else value[row] for value in (a, b))
    s = torch.einsum("nrd,nd->nr", a, x) * (tasks >= 0)[:, None]
    y = scale * torch.einsum("nor,nr->no", b, s)
    return y if weight is None else y + functional.linear(x, weight, bias)


def linear(
    x: Tensor,
    extra: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    plan: TaskPlan,
    alpha: float,
    beta: float,
    *,
    registered: bool,
) -> tuple[Tensor, Tensor]:
    """(y [N, d_out], s [N, r]) as a registered operator, as compilers need it, or an `autograd.Function`."""
    found: tuple[Tensor, Tensor]
    if registered:
        found = linear_operator(x, extra, weight, bias, a, b, *plan.tensors(), alpha, beta)
    else:
        found = _Linear.apply(x, extra, weight, bias, a, b, plan, alpha, beta)
    return found


def compute_linear(
    x: Tensor,
    extra: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    plan: TaskPlan,
    alpha: float,
    beta: float,
) -> tuple[Tensor, Tensor]:
    """The values, without derivatives."""
    if launch.runs_kernel(x):
        if launch.is_fused(b.shape[1], b.shape[2], x.dtype):
            return _launch(x, extra, weight, bias, a, b, plan, alpha, beta)
        base = None if weight is None else functional.linear(x, weight, bias)
        return launch_adapter_add(base, x, extra, a, b, plan, alpha, beta)
    grouping = plan.grouping
    low, delta = grouped_adapter(grouping, grouping.sort(x), extra, a, b, alpha)
    delta = grouping.unsort(delta)
    if weight is None:
        y = delta if beta == 1.0 else delta * beta
    else:
        y = functional.linear(x, weight, bias).add_(delta, alpha=beta)
    return y, grouping.unsort(low)


class _Linear(torch.autograd.Function):
    @staticmethod
    @known_signature
    def forward(
        x: Tensor,
        extra: Tensor | None,
        weight: Tensor | None,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        plan: TaskPlan,
        alpha: float,
        beta: float,
    ) -> tuple[Tensor, Tensor]:
        return compute_linear(x, extra, weight, bias, a, b, plan, alpha, beta)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, _, weight, _, a, b, ctx.plan, ctx.alpha, ctx.beta = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, a, b, output[1])

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, ds: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        if dy is not None and not torch.is_grad_enabled() and not launch.runs_kernel(saved[0]):
            need = ctx.needs_input_grad
            dx, total, for_a, for_b = grouped_derivatives(saved, dy, ds, ctx.plan, ctx.alpha, ctx.beta, need)
            for_weight = dy.mT @ saved[0] if need[2] else None
            return dx, total, for_weight, dy.sum(0) if need[3] else None, for_a, for_b, None, None, None
        # Inside torch.func the node has another name, and tensors that may be wrapped, which no launch takes.
        last = not torch.is_grad_enabled() and ctx.name() == "_LinearBackward"
        found = _derivatives(ctx, saved, dy, ds, ctx.plan, registered=False, last=last)
        return *found, None, None, None


def _derivatives(
    ctx: Any,
    saved: Any,
    dy: Tensor | None,
    ds: Tensor | None,
    plan: TaskPlan,
    *,
    registered: bool,
    last: bool = False,
) -> tuple[Tensor | None, ...]:
    """Of x, extra, weight, bias, a and b, given those of y and s; last: nobody differentiates them again, so
    that the bookkeeping of autograd, which costs more than a launch, can be left out."""
    x, weight, a, b, s = saved
    need = ctx.needs_input_grad
    if dy is None:
        if ds is None:
            return (None,) * 6
        dy = x.new_zeros(x.shape[0], b.shape[1])
    back = None if weight is None else weight.mT
    given = dy, ds, back, None, b.mT, a.mT, plan, ctx.beta, ctx.alpha
    dx, total = compute_linear(*given) if last else linear(*given, registered=registered)
    for_a, for_b = None, None
    if need[4] or need[5]:
        shared, needed = (a.shape[0] == 1, b.shape[0] == 1), (need[4], need[5])
        sums = total, x, dy, s, plan, ctx.alpha, ctx.beta
        for_a, for_b = (
            compute_gradients(*sums, shared, needed)
            if last
            else gradients(*sums, shared=shared, needed=needed, registered=registered)
        )
    return (
        dx,
        total if need[1] else None,
        dy.mT @ x if need[2] else None,
        dy.sum(0) if need[3] else None,
        for_a if need[4] else None,
        for_b if need[5] else None,
    )


@torch.library.custom_op("metarec::linear_adapter", mutates_args=())
def linear_operator(
    x: Tensor,
    extra: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    order: Tensor | None,
    offsets: Tensor,
    tiles: Tensor,
    chunks: Tensor,
    block_rows: int,
    alpha: float,
    beta: float,
) -> tuple[Tensor, Tensor]:
    """`linear` for compilers."""
    plan = TaskPlan.of(x.shape[0], order, offsets, tiles, chunks, block_rows)
    return compute_linear(x, extra, weight, bias, a, b, plan, alpha, beta)


@linear_operator.register_fake
def _(
    x: Tensor, extra: Any, weight: Any, bias: Any, a: Tensor, b: Tensor, *rest: Any
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape[0], b.shape[1]), x.new_empty(x.shape[0], a.shape[1])


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, _, weight, _, a, b, order, offsets, tiles, chunks, ctx.block_rows, ctx.alpha, ctx.beta = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, weight, a, b, output[1], order, offsets, tiles, chunks)


def _backward(ctx: Any, dy: Tensor | None, ds: Tensor | None) -> tuple[Tensor | None, ...]:
    *saved, order, offsets, tiles, chunks = ctx.saved_tensors
    tensors: PlanTensors = order, offsets, tiles, chunks, ctx.block_rows
    plan = TaskPlan.of(saved[0].shape[0], *tensors)
    return *_derivatives(ctx, saved, dy, ds, plan, registered=True), *[None] * 7


linear_operator.register_autograd(_backward, setup_context=_setup)


def _launch(
    x: Tensor,
    extra: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    plan: TaskPlan,
    alpha: float,
    beta: float,
) -> tuple[Tensor, Tensor]:
    (d_out, r), (n, d_in) = b.shape[1:], x.shape
    x = x.contiguous()
    y, s = x.new_empty(n, d_out), x.new_empty(n, r)
    if not n:
        return y, s
    block_n = launch.power_of_two(d_out)
    weight_strides = (0, 0) if weight is None else weight.stride()
    rows = launch.rows_at_once(plan.block_rows, r, x.dtype)
    kernel()[(plan.tiles.shape[1], plan.block_rows // rows)](
        x, None if extra is None else extra.contiguous(), weight, *weight_strides, bias,
        a, 0 if a.shape[0] == 1 else a.stride(0), *a.stride()[1:],
        b, 0 if b.shape[0] == 1 else b.stride(0), *b.stride()[1:],
        y, s, plan.order, plan.offsets, plan.tiles, plan.tiles.shape[1], d_in, d_out, r, alpha, beta,
        HAS_EXTRA=extra is not None, HAS_WEIGHT=weight is not None, HAS_BIAS=bias is not None,
        HAS_ORDER=plan.order is not None, BLOCK_M=rows,
        BLOCK_K=launch.contraction_block(d_in, x.dtype), BLOCK_N=block_n, BLOCK_R=launch.power_of_two(r),
        ACCUMULATOR=launch.accumulator(x.dtype), PRECISION=launch.dot_precision(),
        **launch.options(block_n, x.dtype),
    )  # fmt: skip
    return y, s


@functools.cache
def kernel() -> Any:
    """The Triton kernel, built on first use."""
    global tl
    import triton
    import triton.language as tl

    @triton.jit
    def linear_adapter_kernel(
        x_ptr, extra_ptr, w_ptr, w_n, w_k, bias_ptr, a_ptr, a_task, a_r, a_k, b_ptr, b_task, b_n, b_r,
        y_ptr, s_ptr, order_ptr, offsets_ptr, tiles_ptr, n_tiles, K, N, R, alpha, beta,
        HAS_EXTRA: tl.constexpr, HAS_WEIGHT: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_ORDER: tl.constexpr,
        BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_R: tl.constexpr,
        ACCUMULATOR: tl.constexpr, PRECISION: tl.constexpr,
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
        n = tl.arange(0, BLOCK_N)
        rank = tl.where(task >= 0, R, 0)  # without a task the adapter is empty
        down = a_ptr + tl.maximum(task, 0).to(tl.int64) * a_task
        up = b_ptr + tl.maximum(task, 0).to(tl.int64) * b_task
        low = tl.zeros((BLOCK_M, BLOCK_R), ACCUMULATOR)
        total = tl.zeros((BLOCK_M, BLOCK_N), ACCUMULATOR)
        for start in range(0, K, BLOCK_K):
            k = start + tl.arange(0, BLOCK_K)
            x = tl.load(
                x_ptr + rows[:, None] * K + k[None, :], mask=inside[:, None] & (k < K)[None, :], other=0.0
            )
            a = tl.load(
                down + k[:, None] * a_k + r[None, :] * a_r,
                mask=(k < K)[:, None] & (r < rank)[None, :],
                other=0.0,
            )
            low = tl.dot(x, a, low, input_precision=PRECISION, out_dtype=ACCUMULATOR)
            if HAS_WEIGHT:
                w = tl.load(
                    w_ptr + k[:, None] * w_k + n[None, :] * w_n,
                    mask=(k < K)[:, None] & (n < N)[None, :],
                    other=0.0,
                )
                total = tl.dot(x, w, total, input_precision=PRECISION, out_dtype=ACCUMULATOR)
        low = low * alpha
        at_low = rows[:, None] * R + r[None, :]
        mask_low = inside[:, None] & (r < R)[None, :]
        if HAS_EXTRA:
            low += tl.load(extra_ptr + at_low, mask=inside[:, None] & (r < rank)[None, :], other=0.0).to(
                ACCUMULATOR
            )
        rounded = low.to(s_ptr.dtype.element_ty)
        tl.store(s_ptr + at_low, rounded, mask=mask_low)
        b = tl.load(
            up + r[:, None] * b_r + n[None, :] * b_n,
            mask=(r < rank)[:, None] & (n < N)[None, :],
            other=0.0,
        )
        # beta meets the sum and not an operand, so that an operand isn't rounded twice.
        total += beta * tl.dot(rounded, b, input_precision=PRECISION, out_dtype=ACCUMULATOR)
        if HAS_BIAS:
            total += tl.load(bias_ptr + n, mask=n < N, other=0.0).to(ACCUMULATOR)[None, :]
        tl.store(
            y_ptr + rows[:, None] * N + n[None, :],
            total.to(y_ptr.dtype.element_ty),
            mask=inside[:, None] & (n < N)[None, :],
        )

    return linear_adapter_kernel
