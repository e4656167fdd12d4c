"""How a CPU multiplies many small matrices: padded, in batches of equal tasks, or one by one.

A call of a matrix product costs microseconds whatever its size, which is more than the work of a task with a
handful of rows. Three ways, of which the cheapest by the constants below is taken: every task on its own
through ``grouped_mm`` (long tasks); tasks with the same small number of rows through one ``bmm`` each number,
without padding (thousands of tasks); everything padded to the longest task in one ``bmm`` (few rows in all).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_LEAST_TASKS = 12  # tasks of a batch; below, the batch's own overhead is more than it saves
# Microseconds over forward and backward at widths around 64, measured on one core; only their ratios matter.
_ROW, _TASK, _BATCH = 0.3, 20.0, 150.0
_NEAR, _FAR_ROW = 16_384, 1.5  # rows that stay in a cache of 4 MB; what each further one costs to copy


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
    """Places for the rows in which every part is contiguous; rows without a task come last."""

    parts: list[Part]
    order: Tensor | None
    """i64[N], the row at each place; None where places are padded, or are the rows themselves."""
    places: Tensor | None
    """i64[N], the place of each row; None where places are the rows themselves."""
    n_places: int
    n_with_task: int
    """Places of the parts, padding included."""

    @classmethod
    def of(cls, order: Tensor | None, offsets: Tensor) -> Grouping:
        """order and offsets of a `TaskPlan`."""
        bounds = _host(offsets).astype(np.int64)
        none, starts, counts = int(bounds[1]), bounds[1:-1], np.diff(bounds[1:])
        present = np.flatnonzero(counts)
        blocks, padded = _blocks(present, counts, copied=order is not None or none > 0)
        parts, rows, begin = [], [], 0
        for tasks, rows_each in blocks:
            lengths = counts[tasks]
            ends = np.cumsum(lengths)
            sorted_places = np.arange(ends[-1]) - np.repeat(ends - lengths - starts[tasks], lengths)
            rows.append(sorted_places)
            size = len(tasks) * rows_each or len(sorted_places)
            parts.append(
                Part(
                    begin,
                    begin + size,
                    None if len(tasks) == len(counts) else torch.from_numpy(tasks).to(offsets.device),
                    rows_each,
                    [] if rows_each else ends.tolist(),
                    torch.from_numpy(ends.astype(np.int32)).to(offsets.device),
                )
            )
            begin += size
        by_place = np.concatenate([*rows, np.arange(none)])  # sorted place of each row, parts in turn
        where = np.arange(len(by_place))
        if padded:
            tasks, rows_each = blocks[0]
            lengths = counts[tasks]
            first = np.arange(len(tasks)) * rows_each - (np.cumsum(lengths) - lengths)
            where[: len(where) - none] += np.repeat(first, lengths)
            where[len(where) - none :] = begin + np.arange(none)
        elif order is None and (by_place == where).all():
            return cls(parts, None, None, begin + none, begin)
        row = by_place if order is None else _host(order)[by_place]
        places = np.empty_like(where)
        places[row] = where
        device = offsets.device
        return cls(
            parts,
            None if padded else torch.from_numpy(row).to(device),
            torch.from_numpy(places).to(device),
            begin + none,
            begin,
        )

    @property
    def is_one_batch(self) -> bool:
        """Whether all rows go through one ``bmm``, padded or not."""
        return len(self.parts) == 1 and self.parts[0].rows_each > 0 and self.n_with_task == self.n_places

    def sort(self, x: Tensor) -> Tensor:
        """Rows of x [N, d] at their places [n_places, d], contiguous; padding is 0."""
        if self.places is None:
            return x.contiguous()
        if self.order is not None:
            return x.index_select(0, self.order)
        return x.new_zeros(self.n_places, x.shape[1]).index_copy_(0, self.places, x)

    def unsort(self, x: Tensor) -> Tensor:
        """The rows [N, d] at their places in x [n_places, d]."""
        return x if self.places is None else x.index_select(0, self.places)

    def multiply(self, x: Tensor, matrices: Tensor) -> Tensor:
        """[n_places, n] from sorted x [n_places, k] and matrices [T, k, n]; 0 without a task."""
        if len(self.parts) == 1 and self.n_with_task == self.n_places:
            return self.parts[0].multiply(x, matrices)
        out = x.new_empty(x.shape[0], matrices.shape[2])
        out[self.n_with_task :] = 0
        for part in self.parts:
            place = slice(part.start, part.stop)
            out[place] = part.multiply(x[place], matrices)
        return out

    def outer(self, x: Tensor, y: Tensor, n_tasks: int) -> Tensor:
        """[T, k, n] from sorted x [n_places, k] and y [n_places, n]; 0 for a task without rows."""
        if len(self.parts) == 1 and self.parts[0].tasks is None:
            return self.parts[0].outer(x[: self.n_with_task], y[: self.n_with_task])
        out = x.new_zeros(n_tasks, x.shape[1], y.shape[1])
        for part in self.parts:
            assert part.tasks is not None
            place = slice(part.start, part.stop)
            out.index_copy_(0, part.tasks, part.outer(x[place], y[place]))
        return out


def _host(value: Tensor) -> NDArray[Any]:
    found: NDArray[Any] = (value.cpu() if value.is_cuda else value).numpy()
    return found


def _blocks(
    present: NDArray[np.int64], counts: NDArray[np.int64], *, copied: bool
) -> tuple[list[tuple[NDArray[np.int64], int]], bool]:
    """((tasks, rows each or 0) of every part, whether the only part is padded)."""
    if not len(present):
        return [], False
    lengths = counts[present]
    longest, n = int(lengths.max()), int(lengths.sum())
    sizes, shared = np.unique(lengths, return_counts=True)
    if len(sizes) == 1:
        return [(present, longest)], False
    batched = sizes[shared >= _LEAST_TASKS]
    rest = ~np.isin(lengths, batched)
    one_by_one = _TASK * len(present) + copied * _copying(n)
    in_batches = _BATCH * len(batched) + _TASK * rest.sum() + _copying(n)
    padded = _BATCH + _copying(len(present) * longest)
    if padded <= min(one_by_one, in_batches):
        # Padding for absent tasks as well is cheaper than copying the matrices of the present ones.
        everybody = np.arange(len(counts)) if len(counts) <= 2 * len(present) else present
        return [(everybody, longest)], True
    if one_by_one <= in_batches:
        return [(present, 0)], False
    blocks = [(present[lengths == size], int(size)) for size in batched]
    return blocks + ([(present[rest], 0)] if rest.any() else []), False


def _copying(rows: int) -> float:
    """What it costs to bring rows to their places and back."""
    return _ROW * rows + _FAR_ROW * max(rows - _NEAR, 0)


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
