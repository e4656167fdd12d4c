"""The Triton kernels of `metarec_sdk.kernels.inner_adapt`: one program per task, its adapter in registers.

The adapter [R, d_in] and [R, d_out] (B transposed) stays in fp32 (fp64) registers over all steps; the task's
rows come block by block, so a task may have any number. The kernel of derivatives walks the same steps, keeps
the adapter before each in a workspace [T, S, …], and goes back through them with the
Hessian-vector products of `metarec_sdk.kernels.inner_batched`; the first-order one needs the walk alone, and
that only for the rates. Sums over a task's rows run in fixed order; those over tasks (shared starts, rates)
are a second, deterministic reduction. Registers over the steps as in flash-linear-attention's
``fused_chunk_ttt_linear``.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from metarec_sdk.kernels import launch
from metarec_sdk.kernels.inner_batched import Inputs, Needed, real_type

tl: Any = None  # triton.language once the kernels are built; kernels find it among the module's names
_of_loss: Any = None
_contract: Any = None
_walk: Any = None
MOST_BYTES = 4096 * 4
"""Of an adapter, padded, that a program keeps in registers several times over."""


def holds(given: Inputs, *, derivatives: bool = False) -> bool:
    """Whether the kernels run these inputs: on a GPU, sizes that registers hold.

    Exact fp32 products take more registers than those of matrix units, so the derivatives of an adapter that
    moves as a whole are held to half the size there.
    """
    r, d_in, d_out = *given.a.shape[1:], given.b.shape[1]
    padded = launch.power_of_two(r) * (launch.power_of_two(d_in) + launch.power_of_two(d_out))
    most = MOST_BYTES // 2 if derivatives and given.adapts_a and given.x.dtype.itemsize > 2 else MOST_BYTES
    return launch.runs_kernel(given.x) and padded * real_type(given.x.dtype).itemsize <= most


def launch_adapt(given: Inputs) -> tuple[Tensor, Tensor]:
    """(A' [T, r, d_in], B' [T, d_out, r]); A' has shape [0] where A doesn't adapt."""
    n_tasks = given.plan.n_tasks
    b = given.b.new_empty(n_tasks, *given.b.shape[1:])
    a = given.a.new_empty(n_tasks, *given.a.shape[1:]) if given.adapts_a else given.a.new_empty(0)
    positional, constants = _arguments(given)
    kernels()[0][(n_tasks,)](*positional, given.rates.shape[0], a, b, **constants)
    return a, b


def launch_derivatives(
    given: Inputs, for_a: Tensor, for_b: Tensor, order: int, needed: Needed
) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives of A_0 [T, r, d_in], B_0 [T, d_out, r] and, summed over tasks, rates [S] from those of A'
    and B'; the first two are empty memory for order 1, whose derivatives are for_a and for_b."""
    n_tasks, n_steps = given.plan.n_tasks, given.rates.shape[0]
    (d_out, r), d_in = given.b.shape[1:], given.a.shape[2]
    real, second = real_type(given.x.dtype), order == 2
    made = functools.partial(torch.empty, dtype=real, device=given.x.device)
    kept = n_steps if second else 0
    da = made(n_tasks, r, d_in) if second else made(0)
    db = made(n_tasks, d_out, r) if second else made(0)
    states = made(n_tasks, kept, r, d_in if given.adapts_a else 0), made(n_tasks, kept, r, d_out)
    slopes = made(n_tasks, n_steps).zero_()  # tasks without rows have none
    positional, constants = _arguments(given)
    kernels()[1][(n_tasks,)](
        *positional, n_steps, for_a.contiguous(), for_b.contiguous(), da, db,
        slopes, *states, SECOND_ORDER=second, NEED_A=given.adapts_a or needed.a, **constants,
    )  # fmt: skip
    return da, db, slopes.sum(0)


def _arguments(given: Inputs) -> tuple[list[Any], dict[str, Any]]:
    """What both kernels are launched with."""
    plan, x, a, b = given.plan, given.x, given.a, given.b
    (d_out, r), d_in = b.shape[1:], a.shape[2]
    first, second, third = (None if value is None else value.contiguous() for value in given.tensors)
    assert first is not None
    candidates = first.shape[1] if given.loss == "softmax" else 1
    positional = [
        x.contiguous(), None if given.base is None else given.base.contiguous(),
        a, 0 if a.shape[0] == 1 else a.stride(0), *a.stride()[1:],
        b, 0 if b.shape[0] == 1 else b.stride(0), *b.stride()[1:],
        given.rates.contiguous(), first, second, third, candidates, plan.order, plan.offsets, d_in, d_out, r,
        given.scale,
    ]  # fmt: skip
    constants = {
        "LOSS": given.loss,
        "HAS_BASE": given.base is not None,
        "HAS_PROPOSAL": third is not None,
        "HAS_ORDER": plan.order is not None,
        "ADAPT_A": given.adapts_a,
        "BLOCK_M": 16,
        "BLOCK_K": launch.power_of_two(d_in),
        "BLOCK_D": launch.power_of_two(d_out),
        "BLOCK_R": launch.power_of_two(r),
        "ACCUMULATOR": launch.accumulator(x.dtype),
        "PRECISION": launch.dot_precision(),
        "num_warps": 8,
        "num_stages": 1,
        "enable_fp_fusion": True,
    }
    if x.dtype.itemsize > 2:
        constants["maxnreg"] = launch.MOST_REGISTERS
    return positional, constants


@functools.cache
def kernels() -> tuple[Any, Any]:
    """The two Triton kernels, built on first use."""
    global tl, _of_loss, _contract, _walk
    import triton
    import triton.language as tl

    @triton.jit
    def _of_loss(
        o, v, rows, inside, d, D, first_ptr, second_ptr, third_ptr, C,
        LOSS: tl.constexpr, HAS_PROPOSAL: tl.constexpr, SECOND: tl.constexpr, ACCUMULATOR: tl.constexpr,
    ):  # fmt: skip
        """Gradient g and, where SECOND, Hessian times v [M, D] of each row's loss in o [M, D]."""
        mask = inside[:, None] & (d < D)
        k = v
        if LOSS == "squared":
            g = o - tl.load(first_ptr + rows[:, None] * D + d, mask=mask, other=0.0).to(ACCUMULATOR)
        elif LOSS == "logistic":
            q = tl.load(first_ptr + rows[:, None] * D + d, mask=mask, other=0.0).to(ACCUMULATOR)
            label = tl.load(second_ptr + rows, mask=inside, other=0.0).to(ACCUMULATOR)
            p = 1 / (1 + tl.exp(-tl.sum(o * q, 1)))
            g = (p - label)[:, None] * q
            if SECOND:
                k = (p * (1 - p) * tl.sum(v * q, 1))[:, None] * q
        else:
            # One pass: all sums are kept relative to the largest score so far, and motions relative to the
            # positive's, which changes nothing but their rounding.
            at = rows * C
            own = tl.load(first_ptr + at, mask=inside, other=0)
            e = tl.load(second_ptr + own[:, None] * D + d, mask=mask, other=0.0).to(ACCUMULATOR)
            top = tl.sum(o * e, 1)
            if HAS_PROPOSAL:
                top -= tl.load(third_ptr + at, mask=inside, other=0.0).to(ACCUMULATOR)
            total = top * 0 + 1
            g = e
            if SECOND:
                along_own = tl.sum(v * e, 1)
                mean = top * 0
                k = e * 0
            for c in range(1, C):
                other = tl.load(first_ptr + at + c, mask=inside, other=0)
                e = tl.load(second_ptr + other[:, None] * D + d, mask=mask, other=0.0).to(ACCUMULATOR)
                score = tl.sum(o * e, 1)
                if HAS_PROPOSAL:
                    score -= tl.load(third_ptr + at + c, mask=inside, other=0.0).to(ACCUMULATOR)
                higher = tl.maximum(top, score)
                shrink, p = tl.exp(top - higher), tl.exp(score - higher)
                top = higher
                total = total * shrink + p
                g = g * shrink[:, None] + p[:, None] * e
                if SECOND:
                    p = p * (tl.sum(v * e, 1) - along_own)
                    mean = mean * shrink + p
                    k = k * shrink[:, None] + p[:, None] * e
            g = g / total[:, None]
            if SECOND:
                k = k / total[:, None] - (mean / total)[:, None] * g
            g -= tl.load(second_ptr + own[:, None] * D + d, mask=mask, other=0.0).to(ACCUMULATOR)
        return g, k

    @triton.jit
    def _contract(
        x, y, ACCUMULATOR: tl.constexpr, PRECISION: tl.constexpr
    ):  # fmt: skip
        """x yᵀ [M, R] of x [M, K] and y [R, K]."""
        return tl.dot(x, tl.trans(y), input_precision=PRECISION, out_dtype=ACCUMULATOR)

    @triton.jit
    def _walk(
        a, b, bar_a, bar_b, begin, end, S, task, r, k, d, mask_a, mask_b, kept_a, kept_b, slopes_ptr,
        x_ptr, base_ptr, rates_ptr, first_ptr, second_ptr, third_ptr, C, order_ptr, K, D, R, scale,
        LOSS: tl.constexpr, HAS_BASE: tl.constexpr, HAS_PROPOSAL: tl.constexpr, HAS_ORDER: tl.constexpr,
        ADAPT_A: tl.constexpr, BLOCK_M: tl.constexpr,
        ACCUMULATOR: tl.constexpr, PRECISION: tl.constexpr, KEEP: tl.constexpr, SLOPES: tl.constexpr,
    ):  # fmt: skip
        """(a [R, K], b [R, D]) after the steps; keeps those before each, or the slopes along bar_a, bar_b.

        One loop over steps and blocks of rows: in a loop of its own over the rows, the compiler would hold
        the operands that all blocks share in registers, and spill.
        """
        blocks = tl.cdiv(end - begin, BLOCK_M)
        share = 1 / tl.maximum(end - begin, 1).to(ACCUMULATOR)
        for_a, for_b = a * 0, b * 0
        for turn in range(0, S * blocks):
            step, block = turn // blocks, turn % blocks
            if KEEP:  # noqa: SIM102
                if block == 0:
                    tl.store(kept_b + step * R * D, b, mask=mask_b)
                    if ADAPT_A:
                        tl.store(kept_a + step * R * K, a, mask=mask_a)
            places = begin + block * BLOCK_M + tl.arange(0, BLOCK_M)
            inside = places < end
            rows = places.to(tl.int64)
            if HAS_ORDER:
                rows = tl.load(order_ptr + places, mask=inside, other=0)
            x = tl.load(x_ptr + rows[:, None] * K + k, mask=inside[:, None] & (k < K), other=0.0)
            up = b.to(x.dtype)
            u = _contract(x, a.to(x.dtype), ACCUMULATOR, PRECISION).to(x.dtype)
            o = scale * tl.dot(u, up, input_precision=PRECISION, out_dtype=ACCUMULATOR)
            if HAS_BASE:
                at = base_ptr + rows[:, None] * D + d
                o += tl.load(at, mask=inside[:, None] & (d < D), other=0.0).to(ACCUMULATOR)
            g, _ = _of_loss(
                o, o, rows, inside, d, D, first_ptr, second_ptr, third_ptr, C,
                LOSS, HAS_PROPOSAL, False, ACCUMULATOR,
            )  # fmt: skip
            g = g.to(x.dtype)
            for_b = tl.dot(tl.trans(u), g, for_b, input_precision=PRECISION, out_dtype=ACCUMULATOR)
            if ADAPT_A:
                h = _contract(g, up, ACCUMULATOR, PRECISION).to(x.dtype)
                for_a = tl.dot(tl.trans(h), x, for_a, input_precision=PRECISION, out_dtype=ACCUMULATOR)
            last = block == blocks - 1
            if SLOPES:
                slope = tl.sum(bar_b * for_b)
                if ADAPT_A:
                    slope += tl.sum(bar_a * for_a)
                if last:
                    tl.store(slopes_ptr + task * S + step, -share * scale * slope)
            rate = tl.load(rates_ptr + step).to(ACCUMULATOR) * share * scale
            b = tl.where(last, b - rate * for_b, b)
            for_b = tl.where(last, 0.0, for_b)
            if ADAPT_A:
                a = tl.where(last, a - rate * for_a, a)
                for_a = tl.where(last, 0.0, for_a)
        return a, b

    @triton.jit
    def inner_adapt_kernel(
        x_ptr, base_ptr, a_ptr, a_task, a_r, a_k, b_ptr, b_task, b_d, b_r, rates_ptr,
        first_ptr, second_ptr, third_ptr, C, order_ptr, offsets_ptr, K, D, R, scale, S, new_a_ptr, new_b_ptr,
        LOSS: tl.constexpr, HAS_BASE: tl.constexpr, HAS_PROPOSAL: tl.constexpr, HAS_ORDER: tl.constexpr,
        ADAPT_A: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr,
        BLOCK_R: tl.constexpr, ACCUMULATOR: tl.constexpr, PRECISION: tl.constexpr,
    ):  # fmt: skip
        task = tl.program_id(0).to(tl.int64)
        begin = tl.load(offsets_ptr + task + 1)
        end = tl.load(offsets_ptr + task + 2)
        r = tl.arange(0, BLOCK_R)[:, None]
        k = tl.arange(0, BLOCK_K)[None, :]
        d = tl.arange(0, BLOCK_D)[None, :]
        mask_a, mask_b = (r < R) & (k < K), (r < R) & (d < D)
        a = tl.load(a_ptr + task * a_task + r * a_r + k * a_k, mask=mask_a, other=0.0).to(ACCUMULATOR)
        b = tl.load(b_ptr + task * b_task + r * b_r + d * b_d, mask=mask_b, other=0.0).to(ACCUMULATOR)
        a, b = _walk(
            a, b, a, b, begin, end, S, task, r, k, d, mask_a, mask_b, new_a_ptr, new_b_ptr, new_b_ptr,
            x_ptr, base_ptr, rates_ptr, first_ptr, second_ptr, third_ptr, C, order_ptr, K, D, R, scale,
            LOSS, HAS_BASE, HAS_PROPOSAL, HAS_ORDER, ADAPT_A, BLOCK_M, ACCUMULATOR, PRECISION, False, False,
        )  # fmt: skip
        if ADAPT_A:
            at = new_a_ptr + task * R * K + r * K + k
            tl.store(at, a.to(new_a_ptr.dtype.element_ty), mask=mask_a)
        at = new_b_ptr + task * D * R + d * R + r
        tl.store(at, b.to(new_b_ptr.dtype.element_ty), mask=mask_b)

    @triton.jit
    def inner_derivatives_kernel(
        x_ptr, base_ptr, a_ptr, a_task, a_r, a_k, b_ptr, b_task, b_d, b_r, rates_ptr,
        first_ptr, second_ptr, third_ptr, C, order_ptr, offsets_ptr, K, D, R, scale, S,
        for_a_ptr, for_b_ptr, da_ptr, db_ptr, slopes_ptr, states_a_ptr, states_b_ptr,
        LOSS: tl.constexpr, HAS_BASE: tl.constexpr, HAS_PROPOSAL: tl.constexpr, HAS_ORDER: tl.constexpr,
        ADAPT_A: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr,
        BLOCK_R: tl.constexpr, ACCUMULATOR: tl.constexpr, PRECISION: tl.constexpr,
        SECOND_ORDER: tl.constexpr, NEED_A: tl.constexpr,
    ):  # fmt: skip
        task = tl.program_id(0).to(tl.int64)
        begin = tl.load(offsets_ptr + task + 1)
        end = tl.load(offsets_ptr + task + 2)
        r = tl.arange(0, BLOCK_R)[:, None]
        k = tl.arange(0, BLOCK_K)[None, :]
        d = tl.arange(0, BLOCK_D)[None, :]
        mask_a, mask_b = (r < R) & (k < K), (r < R) & (d < D)
        a = tl.load(a_ptr + task * a_task + r * a_r + k * a_k, mask=mask_a, other=0.0).to(ACCUMULATOR)
        b = tl.load(b_ptr + task * b_task + r * b_r + d * b_d, mask=mask_b, other=0.0).to(ACCUMULATOR)
        at_a, at_b = task * R * K + r * K + k, task * D * R + d * R + r
        kept_a = states_a_ptr + task * S * R * K + r * K + k
        kept_b = states_b_ptr + task * S * R * D + r * D + d
        bar_a, bar_b = a * 0, b * 0
        if not SECOND_ORDER:
            bar_a = tl.load(for_a_ptr + at_a, mask=mask_a, other=0.0)
            bar_b = tl.load(for_b_ptr + at_b, mask=mask_b, other=0.0)
        a, b = _walk(
            a, b, bar_a, bar_b, begin, end, S, task, r, k, d, mask_a, mask_b, kept_a, kept_b,
            slopes_ptr, x_ptr, base_ptr, rates_ptr, first_ptr, second_ptr, third_ptr, C, order_ptr, K, D, R,
            scale, LOSS, HAS_BASE, HAS_PROPOSAL, HAS_ORDER, ADAPT_A, BLOCK_M, ACCUMULATOR, PRECISION,
            SECOND_ORDER, not SECOND_ORDER,
        )  # fmt: skip
        if SECOND_ORDER:
            if NEED_A:
                tl.store(da_ptr + at_a, tl.load(for_a_ptr + at_a, mask=mask_a, other=0.0), mask=mask_a)
            tl.store(db_ptr + at_b, tl.load(for_b_ptr + at_b, mask=mask_b, other=0.0), mask=mask_b)
            # What one thread stored others load.
            tl.debug_barrier()
            blocks = tl.cdiv(end - begin, BLOCK_M)
            share = 1 / tl.maximum(end - begin, 1).to(ACCUMULATOR)
            bent_a, bent_b = a * 0, b * 0
            slope = tl.zeros((BLOCK_M,), ACCUMULATOR)
            for turn in range(0, S * blocks):
                step, block = S - 1 - turn // blocks, turn % blocks
                b = tl.load(kept_b + step * R * D, mask=mask_b, other=0.0)
                if ADAPT_A:
                    a = tl.load(kept_a + step * R * K, mask=mask_a, other=0.0)
                places = begin + block * BLOCK_M + tl.arange(0, BLOCK_M)
                inside = places < end
                rows = places.to(tl.int64)
                if HAS_ORDER:
                    rows = tl.load(order_ptr + places, mask=inside, other=0)
                x = tl.load(x_ptr + rows[:, None] * K + k, mask=inside[:, None] & (k < K), other=0.0)
                up = b.to(x.dtype)
                bar_up = tl.load(db_ptr + at_b, mask=mask_b, other=0.0).to(x.dtype)
                u = _contract(x, a.to(x.dtype), ACCUMULATOR, PRECISION).to(x.dtype)
                o = scale * tl.dot(u, up, input_precision=PRECISION, out_dtype=ACCUMULATOR)
                if HAS_BASE:
                    at = base_ptr + rows[:, None] * D + d
                    o += tl.load(at, mask=inside[:, None] & (d < D), other=0.0).to(ACCUMULATOR)
                v = tl.dot(u, bar_up, input_precision=PRECISION, out_dtype=ACCUMULATOR)
                if ADAPT_A:
                    bar_down = tl.load(da_ptr + at_a, mask=mask_a, other=0.0).to(x.dtype)
                    w = _contract(x, bar_down, ACCUMULATOR, PRECISION).to(x.dtype)
                    v = tl.dot(w, up, v, input_precision=PRECISION, out_dtype=ACCUMULATOR)
                v = v * scale
                g, bent = _of_loss(
                    o, v, rows, inside, d, D, first_ptr, second_ptr, third_ptr, C,
                    LOSS, HAS_PROPOSAL, True, ACCUMULATOR,
                )  # fmt: skip
                slope += tl.sum(g * v, 1)
                g, bent = g.to(x.dtype), bent.to(x.dtype)
                bent_b = tl.dot(tl.trans(u), bent, bent_b, input_precision=PRECISION, out_dtype=ACCUMULATOR)
                if ADAPT_A:
                    bent_b = tl.dot(tl.trans(w), g, bent_b, input_precision=PRECISION, out_dtype=ACCUMULATOR)
                if NEED_A:
                    t = _contract(bent, up, ACCUMULATOR, PRECISION)
                    t += _contract(g, bar_up, ACCUMULATOR, PRECISION)
                    t = tl.trans(t.to(x.dtype))
                    bent_a = tl.dot(t, x, bent_a, input_precision=PRECISION, out_dtype=ACCUMULATOR)
                last = block == blocks - 1
                if last:
                    tl.store(slopes_ptr + task * S + step, -share * tl.sum(slope))
                    rate = tl.load(rates_ptr + step).to(ACCUMULATOR) * share * scale
                    bar_b = tl.load(db_ptr + at_b, mask=mask_b, other=0.0)
                    if NEED_A:
                        bar_a = tl.load(da_ptr + at_a, mask=mask_a, other=0.0)
                        tl.debug_barrier()
                        tl.store(da_ptr + at_a, bar_a - rate * bent_a, mask=mask_a)
                    else:
                        tl.debug_barrier()
                    tl.store(db_ptr + at_b, bar_b - rate * bent_b, mask=mask_b)
                    tl.debug_barrier()
                slope = tl.where(last, 0.0, slope)
                bent_b = tl.where(last, 0.0, bent_b)
                if NEED_A:
                    bent_a = tl.where(last, 0.0, bent_a)

    return inner_adapt_kernel, inner_derivatives_kernel
