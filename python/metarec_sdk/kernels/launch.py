"""What the launchers of all kernels share: when a kernel runs, its blocks and its precision."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from metarec_sdk.kernels.availability import triton_problem

LEAST_DOT = 16
"""The contraction of a matrix instruction in 16-bit types spans at least this many elements."""
_WIDEST_ROW = 512  # bytes
WIDEST_RANK = 64
"""Rank up to which one program holds a task's rank dimension."""
MOST_REGISTERS = 255
"""Registers that a thread may have, given where the assembler would rather spill than have fewer threads."""


def runs_kernel(x: Tensor) -> bool:
    """Whether an operation on x runs as a Triton kernel: x lies on a CUDA device and triton works here."""
    return x.is_cuda and _triton_works()


@functools.cache
def _triton_works() -> bool:
    return capability() >= 8 and not triton_problem()


@functools.cache
def capability() -> int:
    """The first number of the compute capability of the current device."""
    return torch.cuda.get_device_capability()[0]


def power_of_two(n: int, least: int = LEAST_DOT) -> int:
    """The smallest power of two that holds n elements, at least the given one."""
    return max(least, 1 << (max(n, 1) - 1).bit_length())


def accumulator(dtype: torch.dtype) -> Any:
    """The type that products are summed in: float32, and float64 for float64."""
    import triton.language as tl

    return tl.float64 if dtype == torch.float64 else tl.float32


def dot_precision() -> str:
    """Triton's name for torch's setting of how float32 products may be rounded
    (`torch.set_float32_matmul_precision`): exact, or by TF32 parts."""
    return {"highest": "ieee", "high": "tf32x3"}.get(torch.get_float32_matmul_precision(), "tf32")


def is_fused(width: int, rank: int, dtype: torch.dtype) -> bool:
    """Whether one program can hold whole output rows of this width and a task's rank in registers."""
    return width * dtype.itemsize <= _WIDEST_ROW and rank <= WIDEST_RANK


def rows_at_once(block_rows: int, rank: int, dtype: torch.dtype) -> int:
    """Rows that one program takes of a plan's tile; more would spill registers."""
    if dtype.itemsize <= 2:
        return block_rows
    return min(block_rows, 32 if rank <= 32 else 16)


def contraction_block(width: int, dtype: torch.dtype) -> int:
    """Elements of the contraction that one step of a kernel's loop loads: 128 bytes a row."""
    most = 128 // dtype.itemsize
    return min(power_of_two(width), max(most, LEAST_DOT))


def options(width: int, dtype: torch.dtype) -> dict[str, Any]:
    """Warps and pipeline stages for an accumulator that is ``width`` columns wide; fixed, as a search at run
    time would make results depend on timing.

    From 9.0 on, operands of matrix instructions stay in shared memory; before, they take registers too.
    """
    widest = 256 if capability() >= 9 else 255  # bytes that four warps hold
    return {
        "num_warps": 8 if width * dtype.itemsize > widest else 4,
        "num_stages": 2 if dtype.itemsize >= 4 else 3,
        "enable_fp_fusion": True,
    }


def sum_by_item(rows: Tensor, items: Tensor, n: int) -> Tensor:
    """f[n, m], the sum of the rows f[..., m] of each item i64[...]; in sorted order on a GPU, so that two
    runs give the same bytes."""
    total: Tensor
    total = torch.ops.aten.embedding_dense_backward(rows, items, n, -1, False)  # no padding, no mean
    return total
