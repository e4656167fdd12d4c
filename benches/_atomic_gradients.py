"""Both gradients of per-task adapters with atomic additions, to compare the deterministic kernels with.

Not a benchmark itself. The products and tiles are those of `metarec_sdk.kernels.gradient_kernels`; what
differs is how the chunks of a task meet: each adds its sum to a float32 output that was filled with zeros, in
whatever order they finish, and 16-bit gradients are rounded from it afterwards. There is neither a workspace
nor a second kernel, and two runs may give different bytes.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from metarec_sdk.kernels import launch
from metarec_sdk.kernels import plan as plans
from metarec_sdk.kernels.plan import TaskPlan

tl: Any = None  # triton.language once the kernel is built


def atomic_gradients(ds: Tensor, x: Tensor, dy: Tensor, s: Tensor, plan: TaskPlan) -> tuple[Tensor, Tensor]:
    """(∂A [T, r, d], ∂B [T, d, r]) of contiguous ds and s [N, r] and x and dy [N, d], r at most 64."""
    r, d = ds.shape[1], x.shape[1]
    sums = torch.zeros(2, plan.n_tasks, r, d, dtype=torch.float32, device=x.device)
    block, short = min(launch.power_of_two(d), 64), x.dtype.itemsize <= 2
    options = {"num_warps": 2, "num_stages": 4, "enable_fp_fusion": True}
    kernel()[(plan.chunks.shape[1], -(-d // block))](
        ds, x, s, dy, sums[0], sums[1], plan.order, plan.offsets, plan.chunks, plan.chunks.shape[1], r, d,
        HAS_ORDER=plan.order is not None, BLOCK_M=16 if short else 32, CHUNK=plans.CHUNK_ROWS,
        BLOCK_R=launch.power_of_two(r), BLOCK_D=block, PRECISION=launch.dot_precision(),
        **(options if short else launch.options(block, x.dtype)),
    )  # fmt: skip
    for_a, for_b = sums.to(x.dtype)
    return for_a, for_b.mT


@functools.cache
def kernel() -> Any:
    """The Triton kernel, built on first use."""
    global tl
    import triton
    import triton.language as tl

    @triton.jit
    def atomic_gradients_kernel(
        u_ptr, x_ptr, v_ptr, y_ptr, p_ptr, q_ptr, order_ptr, offsets_ptr, chunks_ptr, n_chunks, R, D,
        HAS_ORDER: tl.constexpr, BLOCK_M: tl.constexpr, CHUNK: tl.constexpr, BLOCK_R: tl.constexpr,
        BLOCK_D: tl.constexpr, PRECISION: tl.constexpr,
    ):  # fmt: skip
        chunk = tl.program_id(0)
        task = tl.load(chunks_ptr + chunk)
        if task < 0:
            return
        begin = tl.load(chunks_ptr + n_chunks + chunk)
        end = tl.minimum(tl.load(offsets_ptr + task + 2), begin + CHUNK)
        r = tl.arange(0, BLOCK_R)
        d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
        first = tl.zeros((BLOCK_R, BLOCK_D), tl.float32)
        second = tl.zeros((BLOCK_R, BLOCK_D), tl.float32)
        for start in range(begin, end, BLOCK_M):
            places = start + tl.arange(0, BLOCK_M)
            inside = places < end
            rows = places.to(tl.int64)
            if HAS_ORDER:
                rows = tl.load(order_ptr + places, mask=inside, other=0)
            narrow, wide = (r < R)[:, None] & inside[None, :], inside[:, None] & (d < D)[None, :]
            u = tl.load(u_ptr + rows[None, :] * R + r[:, None], mask=narrow, other=0.0)
            x = tl.load(x_ptr + rows[:, None] * D + d[None, :], mask=wide, other=0.0)
            first = tl.dot(u, x, first, input_precision=PRECISION)
            v = tl.load(v_ptr + rows[None, :] * R + r[:, None], mask=narrow, other=0.0)
            y = tl.load(y_ptr + rows[:, None] * D + d[None, :], mask=wide, other=0.0)
            second = tl.dot(v, y, second, input_precision=PRECISION)
        mask = (r < R)[:, None] & (d < D)[None, :]
        at = task.to(tl.int64) * R * D + r[:, None] * D + d[None, :]
        tl.atomic_add(p_ptr + at, first, mask=mask, sem="relaxed")
        tl.atomic_add(q_ptr + at, second, mask=mask, sem="relaxed")

    return atomic_gradients_kernel
