"""How a CPU multiplies many small matrices: tasks with equally many rows as one batch, the rest one by one.

A call of a matrix product costs a few microseconds whatever its size, which is more than the work of a task
with a handful of rows. So tasks that have the same small number of rows go through one ``bmm`` without any
padding, and only tasks whose number few others share go through ``grouped_mm`` one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_MOST_BATCHED = 32  # rows of a task; beyond, a product of its own costs no more than its share of a batch
_LEAST_TASKS = 12  # tasks of a batch; below, the batch's own overhead is more than it saves


@dataclass(frozen=True)
class Part:
    """Tasks that are multiplied by one call; their rows are the places start … stop - 1."""

    start: int
    stop: int
    tasks: Tensor | None
    """i64[p]; None where the part holds all T tasks in order."""
    rows_each: int
    """Rows of each task; 0 where they differ."""
    bounds: list[int]
    """End of each task's rows within the part, where they differ."""
    offsets: Tensor
    """i32[p], the same as a tensor."""

    def select(self, matrices: Tensor) -> Tensor:
        """[p, k, n], the part's tasks; a transposed view stays one."""
        if self.tasks is None:
            return matrices
        if matrices.stride(1) == 1 and matrices.stride(2) != 1:
            return matrices.mT.index_select(0, self.tasks).mT
        return matrices.index_select(0, self.tasks)

    def multiply(self, x: Tensor, matrices: Tensor) -> Tensor:
        """x [rows, k] by matrices [T, k, n]: [rows, n]."""
        chosen = self.select(matrices)
        if self.rows_each:
            return torch.bmm(x.view(-1, self.rows_each, x.shape[1]), chosen).view(x.shape[0], -1)
        if _aligned(x, chosen):
            return functional.grouped_mm(x, chosen, offs=self.offsets)
        out = x.new_empty(x.shape[0], chosen.shape[2])
        begin = 0
        for matrix, end in zip(chosen.unbind(0), self.bounds):
            torch.mm(x[begin:end], matrix, out=out[begin:end])
            begin = end
        return out

    def outer(self, x: Tensor, y: Tensor) -> Tensor:
        """[p, k, n], ``Σ x_iᵀ y_i`` over each task's rows of x [rows, k] and y [rows, n]."""
        if self.rows_each:
            shape = (-1, self.rows_each)
            return torch.bmm(x.view(*shape, x.shape[1]).mT, y.view(*shape, y.shape[1]))
        if _aligned(x, y):
            return functional.grouped_mm(x.mT, y, offs=self.offsets)
        out = x.new_empty(len(self.bounds), x.shape[1], y.shape[1])
        begin = 0
        for matrix, end in zip(out.unbind(0), self.bounds):
            torch.mm(x[begin:end].mT, y[begin:end], out=matrix)
            begin = end
        return out


@dataclass(frozen=True)
class Grouping:
    """The rows in an order in which every part is contiguous; rows without a task come last."""

    order: Tensor | None
    """i64[N], the row at each place; None for the identity."""
    parts: list[Part]
    n_with_task: int

    @classmethod
    def of(cls, order: Tensor | None, offsets: Tensor) -> Grouping:
        """order and offsets of a `TaskPlan`."""
        bounds = offsets.cpu().numpy().astype(np.int64)
        none, starts, counts = int(bounds[1]), bounds[1:-1], np.diff(bounds[1:])
        present = np.flatnonzero(counts)
        sizes, shared = np.unique(counts[present], return_counts=True)
        batched = sizes if len(sizes) == 1 else sizes[(sizes <= _MOST_BATCHED) & (shared >= _LEAST_TASKS)]
        blocks: list[tuple[np.ndarray, int]] = [
            (present[counts[present] == size], int(size)) for size in batched
        ]
        rest = present[~np.isin(counts[present], batched)]
        if len(rest):
            blocks.append((rest, 0))
        parts, places, begin = [], [], 0
        for tasks, rows_each in blocks:
            lengths = counts[tasks]
            ends = np.cumsum(lengths)
            rows = np.arange(ends[-1]) - np.repeat(ends - lengths - starts[tasks], lengths)
            places.append(rows)
            everything = len(tasks) == len(counts)
            parts.append(
                Part(
                    begin,
                    begin + len(rows),
                    None if everything else torch.from_numpy(tasks).to(offsets.device),
                    rows_each,
                    [] if rows_each else ends.tolist(),
                    torch.from_numpy(ends.astype(np.int32)).to(offsets.device),
                )
            )
            begin += len(rows)
        return cls(_composed(order, places, none, begin + none, offsets.device), parts, begin)

    def sort(self, x: Tensor) -> Tensor:
        """Rows of x in this order, contiguous."""
        return x.contiguous() if self.order is None else x.index_select(0, self.order)

    def outer(self, x: Tensor, y: Tensor, n_tasks: int) -> Tensor:
        """[T, k, n] from sorted x [N, k] and y [N, n]; 0 for a task without rows."""
        if len(self.parts) == 1 and self.parts[0].tasks is None:
            return self.parts[0].outer(x[: self.n_with_task], y[: self.n_with_task])
        out = x.new_zeros(n_tasks, x.shape[1], y.shape[1])
        for part in self.parts:
            assert part.tasks is not None
            place = slice(part.start, part.stop)
            out.index_copy_(0, part.tasks, part.outer(x[place], y[place]))
        return out

    def unsort(self, x: Tensor) -> Tensor:
        """Back in the order of the caller's rows."""
        return x if self.order is None else torch.empty_like(x).index_copy_(0, self.order, x)


def _composed(
    order: Tensor | None, places: list[np.ndarray], none: int, n: int, device: torch.device
) -> Tensor | None:
    """The caller's row at each place, None for the identity."""
    by_place = np.concatenate([*places, np.arange(none)]) if places else np.arange(none)
    straight = bool((by_place == np.arange(n)).all())
    if straight:
        return order
    chosen = torch.from_numpy(by_place).to(device)
    return chosen if order is None else order.index_select(0, chosen)


def _aligned(x: Tensor, y: Tensor) -> bool:
    """Whether `grouped_mm` takes these: a dtype that it knows, strides in multiples of 16 bytes."""
    if not hasattr(functional, "grouped_mm") or x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return False
    for value in (x, y):
        row, column = value.stride()[-2:]
        rows, columns = value.shape[-2:]
        by_row = column == 1 and row >= columns and row * value.element_size() % 16 == 0
        by_column = row == 1 and column >= rows and column * value.element_size() % 16 == 0
        if not (by_row or by_column):
            return False
    return True
