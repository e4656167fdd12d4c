"""The layer of `linear_adapter` and its derivatives on a CPU, as products of a `Grouping`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metarec_sdk.kernels.grouping import Grouping
from metarec_sdk.kernels.plan import TaskPlan


def batched_adapter(grouping: Grouping, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """[N, d_out], ``(x A_tᵀ) B_tᵀ`` by two batched products that torch differentiates itself: for few rows an
    `autograd.Function` costs more than the products."""
    (part,) = grouping.parts
    if grouping.places is not None:
        x = x.new_zeros(grouping.n_places, x.shape[1]).index_copy(0, grouping.places, x)
    x = x.reshape(-1, part.rows_each, x.shape[1])  # [p, rows, d_in]
    a, b = (value.expand(len(x), -1, -1) if len(value) == 1 else part.select(value) for value in (a, b))
    delta = torch.bmm(torch.bmm(x, a.mT), b.mT).flatten(0, 1)  # [n_places, d_out]
    return delta if grouping.places is None else delta.index_select(0, grouping.places)


def grouped_adapter(
    grouping: Grouping, x: Tensor, extra: Tensor | None, a: Tensor, b: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """(s [n_places, r], s B_tᵀ [n_places, d_out]) of sorted x [n_places, d_in]; extra isn't sorted."""
    low = _multiply(grouping, x, a.mT)
    if alpha != 1.0:
        low = low.mul_(alpha)
    if extra is not None:
        low[: grouping.n_with_task] += grouping.sort(extra)[: grouping.n_with_task]
    return low, _multiply(grouping, low, b.mT)


def _multiply(grouping: Grouping, x: Tensor, matrices: Tensor) -> Tensor:
    if matrices.shape[0] > 1 or not grouping.parts:
        return grouping.multiply(x, matrices)
    out = x @ matrices[0]
    out[grouping.n_with_task :] = 0
    return out


def grouped_derivatives(
    saved: Any, dy: Tensor, ds: Tensor | None, plan: TaskPlan, alpha: float, beta: float, needed: Any
) -> tuple[Tensor | None, ...]:
    """Of x, extra, a and b, given those of y (dy) and s (ds); every tensor is put in its places once."""
    x, weight, a, b, s = saved
    grouping = plan.grouping
    sorted_dy = grouping.sort(dy)
    total, delta = grouped_adapter(grouping, sorted_dy, ds, b.mT, a.mT, beta)
    for_a = for_b = dx = None
    if needed[0]:
        delta = grouping.unsort(delta)
        dx = delta * alpha if weight is None else torch.mm(dy, weight).add_(delta, alpha=alpha)
    if needed[4]:
        sorted_x = grouping.sort(x)
        last = grouping.n_with_task
        shared = a.shape[0] == 1
        for_a = (
            (total[:last].mT @ sorted_x[:last])[None] if shared else grouping.outer(total, sorted_x, len(a))
        )
        for_a = for_a if alpha == 1.0 else for_a.mul_(alpha)
    if needed[5]:
        for_b = (dy.mT @ s)[None] if b.shape[0] == 1 else grouping.outer(sorted_dy, grouping.sort(s), len(b))
        for_b = for_b if beta == 1.0 else for_b.mul_(beta)
    return dx, grouping.unsort(total) if needed[1] else None, for_a, for_b
