"""K3: both weight gradients of per-task adapters in one pass over the rows, deterministic.

``P_t = α Σ_{i ∈ t} u_iᵀ x_i`` [T, r, d_in] and ``Q_t = β Σ_{i ∈ t} y_iᵀ v_i`` [T, d_out, r] (for adapters:
u = ∂s, v = s, y = ∂y), or P alone for any two widths. First kernel: a program per chunk of at most
`CHUNK_ROWS` rows of one task and block of columns sums the chunk in fp32 (fp64) in fixed order; a task with
one chunk is finished then, longer ones go to a workspace of ``2 ⌈N / CHUNK_ROWS⌉`` places: the chunk that
starts at sorted place p has place ``2 ⌊p / CHUNK_ROWS⌋``, plus one if it is its task's first, which no other
chunk of a long task has. Second kernel: a program per task adds a long task's chunks in order and writes
zeros for a task without rows. No atomics, so the same input gives the same bytes in every run; the scheme is
that of Liger-Kernel's fused mixture of experts.

With ``step`` the gradient isn't stored: the first kernel (or the second for long tasks) applies
``W ← W (1 − rate · decay) − rate · ∂W`` to the adapters in place, and those of absent tasks aren't touched.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metarec_sdk.kernels import launch
from metarec_sdk.kernels.plan import CHUNK_ROWS, TaskPlan

tl: Any = None  # triton.language once the kernels are built; kernels find it among the module's names
_finish: Any = None
_BLOCK_ROWS = 16  # the least for a matrix instruction, so that short tasks waste few rows
_OPTIONS = {"num_warps": 2, "num_stages": 4, "enable_fp_fusion": True}


class Step(NamedTuple):
    """Of stochastic gradient descent, applied in place."""

    rate: float
    decay: float


def launch_outer(x: Tensor, y: Tensor, plan: TaskPlan) -> Tensor:
    """``Σ x_iᵀ y_i`` [T, k, n]; the narrower side is held in registers."""
    transposed = x.shape[1] > y.shape[1]
    narrow, wide = (y, x) if transposed else (x, y)
    out = torch.empty(plan.n_tasks, x.shape[1], y.shape[1], dtype=x.dtype, device=x.device)
    view = out.mT if transposed else out
    for start in range(0, narrow.shape[1], launch.WIDEST_RANK):
        part = slice(start, start + launch.WIDEST_RANK)
        launch_pair((narrow[:, part].contiguous(), wide, view[:, part], 1.0), None, plan, None)
    return out


def launch_pair(
    first: tuple[Tensor, Tensor, Tensor, float] | None,
    second: tuple[Tensor, Tensor, Tensor, float] | None,
    plan: TaskPlan,
    step: Step | None,
) -> None:
    """Fill (or step) up to two outputs, each given as (narrow [N, r], wide [N, d], out [T, r, d], factor).

    out may be a transposed view. Both narrow inputs have the same width, at most `launch.WIDEST_RANK`.
    """
    given = first or second
    if given is None:
        return
    narrow, wide, out, _ = given
    rank = narrow.shape[1]
    width = max(entry[1].shape[1] for entry in (first, second) if entry is not None)
    if not rank or not width:
        return
    padded, block = launch.power_of_two(rank), min(launch.power_of_two(width), 64)
    columns = -(-width // block)
    real = torch.float64 if narrow.dtype == torch.float64 else torch.float32
    places = 2 * -(-plan.n_rows // CHUNK_ROWS)
    workspace = torch.empty(2, places, rank, width, dtype=real, device=narrow.device)
    sides: list[Any] = []
    for entry in (first, second):
        u, x, p, factor = entry or (narrow, wide, out, 0.0)
        sides += [u.contiguous(), x.contiguous(), p, *p.stride(), x.shape[1], factor]
    update = step is not None
    rate, decay = step or (0.0, 0.0)
    constants = {
        "FIRST": first is not None,
        "SECOND": second is not None,
        "UPDATE": update,
        "CHUNK": CHUNK_ROWS,
        "BLOCK_R": padded,
        "BLOCK_D": block,
        "ACCUMULATOR": launch.accumulator(narrow.dtype),
    }
    chunk_kernel, task_kernel = kernels()
    short = narrow.dtype.itemsize <= 2
    options = launch.options(block, narrow.dtype)
    if plan.chunks.shape[1]:
        chunk_kernel[(plan.chunks.shape[1], columns)](
            *sides, workspace, plan.order, plan.offsets, plan.chunks, plan.chunks.shape[1], places,
            rank, width, rate, decay, HAS_ORDER=plan.order is not None,
            BLOCK_M=_BLOCK_ROWS if short else 2 * _BLOCK_ROWS,
            PRECISION=launch.dot_precision(), **constants, **(_OPTIONS if short else options),
        )  # fmt: skip
    task_kernel[(plan.n_tasks, columns)](
        *sides[2:8], *sides[10:16], workspace, plan.offsets, places, rank, width, rate, decay,
        **constants, **options,
    )  # fmt: skip


@functools.cache
def kernels() -> tuple[Any, Any]:
    """The two Triton kernels, built on first use."""
    global tl, _finish
    import triton
    import triton.language as tl

    @triton.jit
    def _finish(
        p_ptr, total, task, r, d, p_task, p_r, p_d, mask, factor, rate, decay,
        UPDATE: tl.constexpr,
    ):  # fmt: skip
        at = p_ptr + task.to(tl.int64) * p_task + r[:, None] * p_r + d[None, :] * p_d
        if UPDATE:
            before = tl.load(at, mask=mask, other=0.0).to(total.dtype)
            total = before * (1 - rate * decay) - rate * factor * total
        else:
            total = factor * total
        tl.store(at, total.to(p_ptr.dtype.element_ty), mask=mask)

    @triton.jit
    def chunk_kernel(
        u_ptr, x_ptr, p_ptr, p_task, p_r, p_d, D_X, alpha,
        v_ptr, y_ptr, q_ptr, q_task, q_r, q_d, D_Y, beta,
        work_ptr, order_ptr, offsets_ptr, chunks_ptr, n_chunks, n_workspace, R, WIDTH, rate, decay,
        HAS_ORDER: tl.constexpr, BLOCK_M: tl.constexpr, PRECISION: tl.constexpr, FIRST: tl.constexpr,
        SECOND: tl.constexpr, UPDATE: tl.constexpr, CHUNK: tl.constexpr, BLOCK_R: tl.constexpr,
        BLOCK_D: tl.constexpr, ACCUMULATOR: tl.constexpr,
    ):  # fmt: skip
        chunk = tl.program_id(0)
        task = tl.load(chunks_ptr + chunk)
        if task < 0:
            return
        begin = tl.load(chunks_ptr + n_chunks + chunk)
        task_begin = tl.load(offsets_ptr + task + 1)
        task_end = tl.load(offsets_ptr + task + 2)
        end = tl.minimum(task_end, begin + CHUNK)
        r = tl.arange(0, BLOCK_R)
        d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
        first = tl.zeros((BLOCK_R, BLOCK_D), ACCUMULATOR)
        second = tl.zeros((BLOCK_R, BLOCK_D), ACCUMULATOR)
        for start in range(begin, end, BLOCK_M):
            places = start + tl.arange(0, BLOCK_M)
            inside = places < end
            rows = places.to(tl.int64)
            if HAS_ORDER:
                rows = tl.load(order_ptr + places, mask=inside, other=0)
            narrow = (r < R)[:, None] & inside[None, :]
            if FIRST:
                u = tl.load(u_ptr + rows[None, :] * R + r[:, None], mask=narrow, other=0.0)
                x = tl.load(
                    x_ptr + rows[:, None] * D_X + d[None, :],
                    mask=inside[:, None] & (d < D_X)[None, :],
                    other=0.0,
                )
                first = tl.dot(u, x, first, input_precision=PRECISION, out_dtype=ACCUMULATOR)
            if SECOND:
                v = tl.load(v_ptr + rows[None, :] * R + r[:, None], mask=narrow, other=0.0)
                y = tl.load(
                    y_ptr + rows[:, None] * D_Y + d[None, :],
                    mask=inside[:, None] & (d < D_Y)[None, :],
                    other=0.0,
                )
                second = tl.dot(v, y, second, input_precision=PRECISION, out_dtype=ACCUMULATOR)
        if task_end - task_begin <= CHUNK:
            if FIRST:
                mask = (r < R)[:, None] & (d < D_X)[None, :]
                _finish(p_ptr, first, task, r, d, p_task, p_r, p_d, mask, alpha, rate, decay, UPDATE)
            if SECOND:
                mask = (r < R)[:, None] & (d < D_Y)[None, :]
                _finish(q_ptr, second, task, r, d, q_task, q_r, q_d, mask, beta, rate, decay, UPDATE)
        else:
            slot = begin // CHUNK * 2
            if begin == task_begin:
                slot += 1
            mask = (r < R)[:, None] & (d < WIDTH)[None, :]
            work = work_ptr + slot.to(tl.int64) * R * WIDTH + r[:, None] * WIDTH + d[None, :]
            if FIRST:
                tl.store(work, first, mask=mask)
            if SECOND:
                tl.store(work + n_workspace.to(tl.int64) * R * WIDTH, second, mask=mask)

    @triton.jit
    def task_kernel(
        p_ptr, p_task, p_r, p_d, D_X, alpha, q_ptr, q_task, q_r, q_d, D_Y, beta,
        work_ptr, offsets_ptr, n_workspace, R, WIDTH, rate, decay,
        FIRST: tl.constexpr, SECOND: tl.constexpr, UPDATE: tl.constexpr, CHUNK: tl.constexpr,
        BLOCK_R: tl.constexpr, BLOCK_D: tl.constexpr, ACCUMULATOR: tl.constexpr,
    ):  # fmt: skip
        task = tl.program_id(0)
        begin = tl.load(offsets_ptr + task + 1)
        end = tl.load(offsets_ptr + task + 2)
        if (end > begin) & (end - begin <= CHUNK):
            return
        if UPDATE:  # noqa: SIM102
            if end == begin:
                return
        r = tl.arange(0, BLOCK_R)
        d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
        first = tl.zeros((BLOCK_R, BLOCK_D), ACCUMULATOR)
        second = tl.zeros((BLOCK_R, BLOCK_D), ACCUMULATOR)
        mask = (r < R)[:, None] & (d < WIDTH)[None, :]
        for start in range(begin, end, CHUNK):
            slot = start // CHUNK * 2
            if start == begin:
                slot += 1
            work = work_ptr + slot.to(tl.int64) * R * WIDTH + r[:, None] * WIDTH + d[None, :]
            if FIRST:
                first += tl.load(work, mask=mask, other=0.0)
            if SECOND:
                second += tl.load(work + n_workspace.to(tl.int64) * R * WIDTH, mask=mask, other=0.0)
        if FIRST:
            mask = (r < R)[:, None] & (d < D_X)[None, :]
            _finish(p_ptr, first, task, r, d, p_task, p_r, p_d, mask, alpha, rate, decay, UPDATE)
        if SECOND:
            mask = (r < R)[:, None] & (d < D_Y)[None, :]
            _finish(q_ptr, second, task, r, d, q_task, q_r, q_d, mask, beta, rate, decay, UPDATE)

    return chunk_kernel, task_kernel
