"""Which rows belong to which task: the permutation, the segments and the tiles that kernels work through.

Rows are sorted by task, those without a task (-1) first. A GPU gets two lists whose lengths follow from N and
T alone, so that building them needs no synchronisation and a CUDA graph can hold it: tiles of ``block_rows``
rows of one segment, at most ``⌈N / block_rows⌉ + min(T + 1, N)`` of them, and chunks of `CHUNK_ROWS` rows of
one task for the gradients of adapters. Surplus entries carry the task `SURPLUS` and end at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels.grouping import Grouping

CHUNK_ROWS = 512
"""Rows of a task whose gradient one program sums; longer tasks are split and their parts added in order."""
NO_TASK, SURPLUS = -1, -2
PlanTensors: TypeAlias = "tuple[Tensor | None, Tensor, Tensor, Tensor, int]"
"""order, offsets, tiles, chunks, block_rows."""


@dataclass(frozen=True, eq=False)
class TaskPlan:
    """N rows in T tasks; made by `plan_tasks`, used by any number of operations on the same rows."""

    n_tasks: int
    """T."""
    n_rows: int
    """N."""
    order: Tensor | None
    """i64[N], the row at each sorted place; None where the rows are sorted already."""
    offsets: Tensor
    """i32[T + 2]: the rows without a task are sorted places 0 … offsets[1] - 1, those of task t are
    offsets[t + 1] … offsets[t + 2] - 1."""
    tiles: Tensor
    """i32[2, tiles]: task (-1 none, -2 surplus) and first sorted place; empty on a CPU."""
    chunks: Tensor
    """i32[2, chunks]: task (-2 surplus) and first sorted place; empty on a CPU."""
    block_rows: int
    """Rows of a tile."""

    def tensors(self) -> PlanTensors:
        """What an operator gets in place of the plan."""
        return self.order, self.offsets, self.tiles, self.chunks, self.block_rows

    @classmethod
    def of(
        cls,
        n_rows: int,
        order: Tensor | None,
        offsets: Tensor,
        tiles: Tensor,
        chunks: Tensor,
        block_rows: int,
    ) -> TaskPlan:
        """The plan back from its `tensors`."""
        return cls(offsets.shape[0] - 2, n_rows, order, offsets, tiles, chunks, block_rows)

    def compact(self, offsets: Tensor) -> TaskPlan:
        """The same rows with only the tasks of the given offsets i32[p + 2]; the others have no rows."""
        chunks = _chunks(offsets, self.n_rows) if self.chunks.shape[1] else self.chunks
        tiles = _tiles(offsets, self.n_rows, self.block_rows) if self.tiles.shape[1] else self.tiles
        return TaskPlan.of(self.n_rows, self.order, offsets, tiles, chunks, self.block_rows)

    @cached_property
    def present(self) -> tuple[Tensor, TaskPlan]:
        """(i64[p], the tasks that have rows, ascending; the plan in which they are tasks 0 … p - 1).

        Waits for the device, as p isn't known before.
        """
        tasks = torch.nonzero(self.offsets[2:] > self.offsets[1:-1])[:, 0]  # [p]
        ends = self.offsets.index_select(0, tasks + 2)
        return tasks, self.compact(torch.cat([self.offsets[:2], ends]))

    @cached_property
    def grouping(self) -> Grouping:
        """How a CPU batches the tasks; waits for the device."""
        return Grouping.of(self.order, self.offsets)

    def with_task(self, like: Tensor) -> Tensor:
        """[N, 1] of the dtype of ``like``: 1 for rows with a task, 0 for those without."""
        places = torch.arange(self.n_rows, device=like.device)
        has = (places >= self.offsets[1]).to(like.dtype)[:, None]
        return has if self.order is None else torch.empty_like(has).index_copy_(0, self.order, has)


def plan_tasks(
    tasks: Tensor,
    n_tasks: int,
    *,
    is_sorted: bool = False,
    block_rows: int | None = None,
    lists: bool = False,
) -> TaskPlan:
    """The plan of rows with task ids tasks i[N], each -1 (no task) … n_tasks - 1, in any order.

    is_sorted: the ids are ascending, as a data loader should give them; nothing is permuted then. block_rows:
    16, 32, 64 or 128; follows from N / T where absent. lists: make tiles and chunks on a CPU as well.

    Make it outside of the functions that `torch.func` transforms.

    Raises `ArgumentError` for ids of another form or range. On a GPU and under `torch.compile` the range is
    checked where the ids are, and raises as a failed device assertion does.
    """
    _check(tasks, n_tasks)
    n = tasks.shape[0]
    order = None
    if not is_sorted:
        tasks, order = torch.sort(tasks, stable=True)
    bounds = torch.arange(-1, n_tasks + 1, device=tasks.device, dtype=tasks.dtype)
    offsets = torch.searchsorted(tasks.contiguous(), bounds, out_int32=True)  # [T + 2]
    block = block_rows or _block_rows(n, n_tasks)
    if lists or tasks.is_cuda:
        tiles, chunks = _tiles(offsets, n, block), _chunks(offsets, n)
    else:
        tiles = torch.empty(2, 0, dtype=torch.int32, device=tasks.device)
        chunks = torch.empty(2, 0, dtype=torch.int32, device=tasks.device)
    plan = TaskPlan(n_tasks, n, order, offsets, tiles, chunks, block)
    if not (torch.compiler.is_compiling() or tasks.is_cuda):
        _ = plan.grouping  # now, as the transforms of torch.func would have it made of their own tensors
    return plan


def _check(tasks: Tensor, n_tasks: int) -> None:
    if tasks.ndim != 1 or tasks.dtype not in (torch.int32, torch.int64):
        raise ArgumentError(
            f"tasks must be int32 or int64 [N], got {tasks.dtype} {list(tasks.shape)}; call .long() on ids"
        )
    if n_tasks < 1:
        raise ArgumentError(f"n_tasks must be at least 1, got {n_tasks}")
    if torch.compiler.is_compiling() or tasks.is_cuda:
        inside = ((tasks >= NO_TASK) & (tasks < n_tasks)).all()
        torch._assert_async(inside, f"task ids must be -1 … {n_tasks - 1}")
    elif tasks.numel():
        low, high = int(tasks.min()), int(tasks.max())
        if low < NO_TASK or high >= n_tasks:
            raise ArgumentError(
                f"task ids must be -1 (no task) … {n_tasks - 1}, got {low} … {high}; map unknown tasks to -1"
            )


def _block_rows(n: int, n_tasks: int) -> int:
    """Tiles about as long as a task has rows, so that few of their rows are empty."""
    per_task = n / max(min(n, n_tasks), 1)
    return 16 if per_task <= 24 else 64


def _tiles(offsets: Tensor, n: int, block: int) -> Tensor:
    """Tiles of all segments; segment s is task s - 1."""
    tiles = _pieces(offsets, n, block)
    return torch.stack([torch.where(tiles[0] == SURPLUS, SURPLUS, tiles[0] - 1), tiles[1]])


def _chunks(offsets: Tensor, n: int) -> Tensor:
    return _pieces(offsets[1:], n, CHUNK_ROWS)


def _pieces(offsets: Tensor, n: int, length: int) -> Tensor:
    """i32[2, ⌈n / length⌉ + min(segments, n)]: segment or `SURPLUS`, and first place, of pieces of at most
    ``length`` rows of one segment."""
    segments = offsets.shape[0] - 1
    counts = (offsets[1:] - offsets[:-1] + length - 1) // length  # [segments]
    ends = torch.cumsum(counts, 0, dtype=torch.int32)
    place = torch.arange(-(-n // length) + min(segments, n), device=offsets.device, dtype=torch.int32)
    segment = torch.searchsorted(ends, place, right=True, out_int32=True)
    inside = segment < segments
    segment = segment.clamp(max=segments - 1)
    first = offsets[segment] + (place - (ends - counts)[segment]) * length
    return torch.stack([torch.where(inside, segment, SURPLUS), torch.where(inside, first, 0)]).int()
