"""`metarec_sdk.kernels.inner_adapt` as batched products over tasks: on a CPU, and on a GPU for sizes that one
program can't hold. The loop runs over steps; no loop over tasks.

With u = x Aᵀ, o = base + scale · u Bᵀ and g = ∂loss/∂o of the rows of a task, a step subtracts
``rate / n_t`` times ``scale · gᵀ u`` from B and ``(scale · g B)ᵀ x`` from A. It is a gradient step, so its
Jacobian ``I − rate / n_t · ∇²`` is symmetric, and the reverse step takes a Hessian-vector product
(Pearlmutter, Neural Computation 1994) with the derivatives Ā and B̄ of what follows: with w = x Āᵀ and the
output's motion ``v = scale · (u B̄ᵀ + w Bᵀ)``, k = H v and t = scale · (k B + g B̄),

    B̄ ← B̄ − rate / n_t · scale · (kᵀ u + gᵀ w),   Ā ← Ā − rate / n_t · tᵀ x,   ∂rate = −Σ_i g_i · v_i / n_t.

Where A doesn't adapt, w = 0 and Ā gathers the derivative of A that B's steps have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metarec_sdk.kernels import launch
from metarec_sdk.kernels.inner_losses import Derivatives, InnerLoss, LossTensors, loss_of
from metarec_sdk.kernels.plan import TaskPlan
from metarec_sdk.kernels.task_matmul import compute_matmul
from metarec_sdk.kernels.task_outer import compute_outer


class Inputs(NamedTuple):
    """Of the operation, checked; shapes as in `metarec_sdk.kernels.inner_adapt`."""

    x: Tensor
    base: Tensor | None
    a: Tensor
    b: Tensor
    rates: Tensor
    loss: str
    tensors: LossTensors
    plan: TaskPlan
    scale: float
    adapts_a: bool


class Needed(NamedTuple):
    """Which derivatives are asked for."""

    x: bool
    base: bool
    a: bool
    b: bool
    rates: bool


class Derived(NamedTuple):
    """Derivatives of x, base, A_0, B_0 and rates; None where not needed or 0."""

    x: Tensor | None
    base: Tensor | None
    a: Tensor | None
    b: Tensor | None
    rates: Tensor | None


def real_type(dtype: torch.dtype) -> torch.dtype:
    """The type in which steps are taken: float32, and float64 for float64."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@dataclass(frozen=True)
class _Rows:
    """Products with the matrices of each row's task, by kernels on a GPU and by a grouping on a CPU."""

    plan: TaskPlan
    by_kernels: bool
    dtype: torch.dtype

    def place(self, value: Tensor) -> Tensor:
        """[n, k], rows [N, k] where the products want them; floating ones in the type of the steps. Rows
        without a task become 0, as whatever they hold must not matter."""
        value = value.to(self.dtype) if value.is_floating_point() else value
        if self.by_kernels:
            return torch.where(self.plan.with_task(value) > 0, value, 0)
        grouping = self.plan.grouping
        value = grouping.sort(value)
        if grouping.n_with_task < grouping.n_places:  # sort has made a copy then
            value[grouping.n_with_task :] = 0
        return value

    def back(self, value: Tensor) -> Tensor:
        """The rows [N, k] from their places [n, k]."""
        return value if self.by_kernels else self.plan.grouping.unsort(value)

    def multiply(self, x: Tensor, matrices: Tensor) -> Tensor:
        """[n, m] from x [n, k] and matrices [T, k, m] or [1, k, m]; 0 without a task."""
        if self.by_kernels:
            return compute_matmul(x, matrices, self.plan)
        grouping = self.plan.grouping
        if matrices.shape[0] > 1 or not grouping.parts:
            return grouping.multiply(x, matrices)
        out = x @ matrices[0]
        out[grouping.n_with_task :] = 0
        return out

    def outer(self, x: Tensor, y: Tensor) -> Tensor:
        """[T, k, m], each task's ``Σ x_iᵀ y_i``."""
        if self.by_kernels:
            return compute_outer(x, y, self.plan, False)
        return self.plan.grouping.outer(x, y, self.plan.n_tasks)


class _Support:
    """The rows in their places, and what a step takes from them."""

    def __init__(self, given: Inputs) -> None:
        plan, dtype = given.plan, real_type(given.x.dtype)
        self.rows = _Rows(plan, launch.runs_kernel(given.x), dtype)
        self.scale, self.adapts_a = given.scale, given.adapts_a
        self.x = self.rows.place(given.x)
        self.base = None if given.base is None else self.rows.place(given.base)
        loss = loss_of(given.loss, given.tensors)
        self.derivatives: Derivatives = _in_steps_type(loss, dtype).derivatives(self.rows.place)
        counts = plan.offsets[2:] - plan.offsets[1:-1]
        self.share = counts.clamp(min=1).to(dtype).reciprocal()[:, None, None]  # [T, 1, 1]
        self.a, self.b = (
            value.to(dtype).expand(plan.n_tasks if adapts else len(value), -1, -1)
            for value, adapts in ((given.a, given.adapts_a), (given.b, True))
        )
        self.rates = given.rates.to(dtype)

    def output(self, u: Tensor, b: Tensor) -> Tensor:
        """o [n, d_out]."""
        o = self.scale * self.rows.multiply(u, b.mT)
        return o if self.base is None else o + self.base

    def step(self, a: Tensor, b: Tensor, rate: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """(A, B) after one step, and the gradients of both; None for that of an A that doesn't adapt."""
        rows = self.rows
        u = rows.multiply(self.x, a.mT)
        g, _ = self.derivatives(self.output(u, b), None)
        for_b = self.share * self.scale * rows.outer(g, u)
        if not self.adapts_a:
            return a, b - rate * for_b, None, for_b
        for_a = self.share * self.scale * rows.outer(rows.multiply(g, b), self.x)
        return a - rate * for_a, b - rate * for_b, for_a, for_b


def batched_adapt(given: Inputs) -> tuple[Tensor, Tensor]:
    """(A' [T, r, d_in] or, where it doesn't adapt, A; B' [T, d_out, r]) in the type of the steps."""
    support = _Support(given)
    a, b = support.a, support.b
    for rate in support.rates.unbind():
        a, b, _, _ = support.step(a, b, rate)
    return a, b


def batched_first_order(given: Inputs, for_a: Tensor, for_b: Tensor) -> Tensor:
    """Derivatives of rates [S], every step's gradient taken as a constant; for_a [T, …], for_b [T, …]."""
    support = _Support(given)
    a, b = support.a, support.b
    found = []
    for rate in support.rates.unbind():
        a, b, step_a, step_b = support.step(a, b, rate)
        total = (for_b * step_b).sum()
        found.append(-(total if step_a is None else total + (for_a * step_a).sum()))
    return torch.stack(found) if found else support.rates.clone()


def batched_second_order(given: Inputs, for_a: Tensor, for_b: Tensor, needed: Needed) -> Derived:
    """Exact derivatives, of A_0 and B_0 task by task [T, …]; for_a is 0 [T, …] where A doesn't adapt."""
    support = _Support(given)
    rows, scale, x = support.rows, support.scale, support.x
    states = [(support.a, support.b)]
    for rate in support.rates[:-1].unbind():
        states.append(support.step(*states[-1], rate)[:2])
    weight = rows.multiply(x.new_ones(x.shape[0], 1), support.share)  # [n, 1], 1 / n_t
    for_x = torch.zeros_like(x) if needed.x else None
    for_base = torch.zeros_like(x[:, :1]).repeat(1, for_b.shape[1]) if needed.base else None
    for_rates = []
    for (a, b), rate in zip(reversed(states), reversed(support.rates.unbind())):
        u = rows.multiply(x, a.mT)
        v = rows.multiply(u, for_b.mT)
        w = rows.multiply(x, for_a.mT) if support.adapts_a else None
        v = scale * (v if w is None else v + rows.multiply(w, b.mT))
        g, k = support.derivatives(support.output(u, b), v)
        assert k is not None
        if needed.rates:
            for_rates.append(-(weight * g * v).sum())
        t = scale * (rows.multiply(k, b) + rows.multiply(g, for_b))
        if for_x is not None:
            for_x -= rate * weight * rows.multiply(t, a)
            if support.adapts_a:
                for_x -= rate * weight * scale * rows.multiply(rows.multiply(g, b), for_a)
        if for_base is not None:
            for_base -= rate * weight * k
        bent = rows.outer(k, u)
        bent = bent if w is None else bent + rows.outer(g, w)
        if support.adapts_a or needed.a:
            for_a = for_a - rate * support.share * rows.outer(t, x)
        for_b = for_b - rate * scale * support.share * bent
    return Derived(
        None if for_x is None else rows.back(for_x),
        None if for_base is None else rows.back(for_base),
        for_a,
        for_b,
        torch.stack(for_rates[::-1]) if for_rates else torch.zeros_like(support.rates),
    )


def _in_steps_type(loss: InnerLoss, dtype: torch.dtype) -> InnerLoss:
    """The loss with a table of items in the type of the steps; `_Rows.place` casts what has a row each."""
    first, second, third = loss.tensors()
    return loss_of(loss.name, (first, None if second is None else second.to(dtype), third))
