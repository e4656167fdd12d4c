"""The fused inner loop of meta-learning on an NVIDIA GPU, checked, then measured (about two minutes).

    python benches/inner_adapt_gpu.py [--rehearse]        (or: make bench-gpu)

Checks first: results and derivatives of all losses against float64 of the same rounded inputs (fp32 < 1e-5,
16 bits < 2e-2 of the largest value; where one is missed it measures all the same and fails at the end), the
same bytes over 20 runs, and a CUDA graph replayed with other rows. Then adaptation alone, and MAML with its
exact derivatives in the parent and the step sizes, 5 steps of the squared loss, d = 128 (64 in fp32), r = 16,
16 rows a task, so that the peers lose nothing to padding: medians with p20 and p80 in microseconds, in turns,
eager and as a CUDA graph. Peers: the closed-form gradients as batched products a step, the best that torch
offers for tasks of equal length, and ``vmap(grad)``. Appends to ``benches/results/inner_adapt_gpu.csv``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from _gpu import DEVICE, Call, Row, fail, graph_of, measure, need_a_gpu, randn, record
from torch import Tensor

from metarec_sdk.kernels.inner_adapt import inner_adapt, inner_adapt_reference
from metarec_sdk.kernels.inner_losses import InnerLoss, LogisticLoss, SampledSoftmaxLoss, SquaredLoss
from metarec_sdk.kernels.plan import plan_tasks

BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-2}
Tensors = tuple[Tensor, ...]


def make_loss(name: str, n: int, d: int, dtype: torch.dtype) -> InnerLoss:
    """A loss on n rows."""
    rows = randn(n, d, seed=11).to(dtype)
    if name == "squared":
        return SquaredLoss(rows)
    if name == "logistic":
        return LogisticLoss(rows, (randn(n, seed=12) > 0).to(dtype))
    candidates = torch.randint(50, (n, 8), generator=torch.Generator().manual_seed(13)).to(DEVICE)
    return SampledSoftmaxLoss(candidates, randn(50, d, seed=14).to(dtype) / d**0.5)


def as_double(loss: InnerLoss) -> InnerLoss:
    """The loss of the same values in float64."""
    return type(loss)(
        *(t if t is None or not t.is_floating_point() else t.double() for t in loss.tensors()[: fields(loss)])
    )


def fields(loss: InnerLoss) -> int:
    """How many tensors the loss takes."""
    return {"squared": 1, "logistic": 2, "softmax": 3}[loss.name]


def adapted(call: Callable[..., Any], leaves: list[Tensor], needed: list[Tensor]) -> list[Tensor]:
    """A', B' and the derivatives of a fixed function of both."""
    a, b = call(*leaves)
    total = sum(
        (value * torch.linspace(-1, 1, value.numel(), device=DEVICE, dtype=value.dtype).view_as(value)).sum()
        for value in (a, b)
    )
    return [a.detach(), b.detach(), *torch.autograd.grad(total, needed)]


def check(
    name: str, adapts: Any, dtype: torch.dtype, d: int, r: int, n: int, n_tasks: int, missed: list[str]
) -> None:
    """Values and derivatives, of which ``missed`` gets those out of bounds; bytes and a replayed graph."""
    tasks = torch.randint(-1, n_tasks, (n,), generator=torch.Generator().manual_seed(1)).to(DEVICE)
    plan, loss = plan_tasks(tasks, n_tasks), make_loss(name, n, d, dtype)
    x, rates = (randn(n, d) / d**0.5).to(dtype), torch.full((5,), 0.1, device=DEVICE)
    starts = [randn(1, r, d, seed=2) / d**0.5, randn(1, d, r, seed=3) / r**0.5]
    leaves = [value.requires_grad_() for value in (*starts, rates)]
    exact = [value.detach().double().requires_grad_() for value in leaves]
    double = as_double(loss)

    def ours(a: Tensor, b: Tensor, rates: Tensor) -> Any:
        return inner_adapt(x, a, b, plan, loss, rates, adapts=adapts)

    def reference(a: Tensor, b: Tensor, rates: Tensor) -> Any:
        return inner_adapt_reference(x.double(), a, b, tasks, n_tasks, double, rates, adapts=adapts)

    expected = adapted(reference, exact, exact)
    runs = [adapted(ours, leaves, leaves) for _ in range(20)]
    if not all(torch.equal(one, two) for run in runs for one, two in zip(run, runs[0])):
        fail(f"{name} {adapts} {dtype}: two runs gave different bytes")
    errors = [float((one - two).abs().max() / two.abs().max()) for one, two in zip(runs[0], expected)]
    print(name, adapts, str(dtype)[6:], f"d={d} r={r}", "errors of A', B', their derivatives and the rates'",
          [f"{e:.1e}" for e in errors], flush=True)  # fmt: skip
    if not max(errors) < BOUNDS[dtype]:
        missed.append(f"{name} {adapts} {dtype} d={d} r={r}: {max(errors):.1e}, allowed {BOUNDS[dtype]:.0e}")
    if DEVICE == "cuda":
        with torch.no_grad():
            graph, found = graph_of(lambda: ours(*leaves)[1])
            x.copy_(x.flip(0))
            graph.replay()
            if not torch.equal(found, ours(*leaves)[1]):
                fail(f"{name} {adapts} {dtype}: a replayed CUDA graph gave values of other rows")


def batched_steps(x: Tensor, y: Tensor, a: Tensor, b: Tensor, rates: Tensor) -> Tensors:
    """(A', B') of x, y [T, n, d] by the gradients' closed forms; steps in fp32, operands in the type of x."""
    n_tasks, n = x.shape[:2]
    a, b = a.expand(n_tasks, -1, -1), b.expand(n_tasks, -1, -1)
    for rate in rates.unbind():
        u = torch.bmm(x, a.to(x.dtype).mT)
        up = b.to(x.dtype)
        g = torch.bmm(u, up.mT) - y
        da, db = torch.bmm(torch.bmm(g, up).mT, x), torch.bmm(g.mT, u)
        a, b = a - rate / n * da, b - rate / n * db
    return a, b


def one_task(x: Tensor, y: Tensor, a: Tensor, b: Tensor, rates: Tensor) -> Tensors:
    """The steps of one task [n, d] by autograd, for `vmap`."""

    def loss(both: Tensors) -> Tensor:
        o = x @ both[0].to(x.dtype).mT @ both[1].to(x.dtype).mT
        return (o.float() - y.float()).square().sum() / 2 / len(x)

    both: Tensors = (a, b)
    for rate in rates.unbind():
        gradients = torch.func.grad(loss)(both)
        both = tuple(value - rate * gradient for value, gradient in zip(both, gradients))
    return both


def measure_inner(n_tasks: int, n: int, d: int, r: int, dtype: torch.dtype) -> list[Row]:
    """Adaptation alone, and a meta-gradient."""
    x, y = (randn(n_tasks, n, d) / d**0.5).to(dtype), randn(n_tasks, n, d, seed=1).to(dtype)
    tasks = torch.arange(n_tasks, device=DEVICE).repeat_interleave(n)
    plan = plan_tasks(tasks, n_tasks, is_sorted=True)
    starts = [randn(1, r, d, seed=2) / d**0.5, randn(1, d, r, seed=3) / r**0.5]
    rates = torch.full((5,), 0.1, device=DEVICE)
    leaves = [value.requires_grad_() for value in (*starts, rates)]
    flat, loss = x.flatten(0, 1), SquaredLoss(y.flatten(0, 1))
    over_tasks = torch.func.vmap(one_task, in_dims=(0, 0, None, None, None))

    forms: dict[str, Callable[[Tensor, Tensor, Tensor], Tensors]] = {
        "ours": lambda a, b, rates: inner_adapt(flat, a, b, plan, loss, rates),
        "batched products a step": lambda a, b, rates: batched_steps(x, y, a, b, rates),
        "vmap(grad)": lambda a, b, rates: over_tasks(x, y, a[0], b[0], rates),
    }
    case = f"tasks={n_tasks} rows={n} d={d} r={r} steps=5 {str(dtype)[6:]}"

    def alone(form: Callable[..., Tensors]) -> Call:
        def call() -> Tensors:
            with torch.no_grad():
                return form(*leaves)

        return call

    rows = measure("adapt", case, {name: alone(form) for name, form in forms.items()}, 10)
    metas: dict[str, Call] = {
        name: lambda form=form: torch.autograd.grad(sum(v.sum() for v in form(*leaves)), leaves)
        for name, form in forms.items()
    }
    return rows + measure("adapt and meta-gradient", case, metas, 10)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rehearse", action="store_true", help="small, on a CPU; nothing is recorded")
    small = parser.parse_args().rehearse
    need_a_gpu(small)
    n, n_tasks = (200, 20) if small else (4000, 250)
    missed: list[str] = []
    for name in ("squared", "logistic", "softmax"):
        for adapts in ("b", "both"):
            check(name, adapts, torch.float32, 64, 16, n, n_tasks, missed)
            check(name, adapts, torch.bfloat16, 128, 16, n, n_tasks, missed)
    check("squared", "both", torch.float16, 100, 3, n, n_tasks, missed)
    check("squared", "both", torch.float32, 128, 32, n, n_tasks, missed)  # more than registers hold
    print("missed:" if missed else "checks passed", *missed, sep="\n", flush=True)
    rows = []
    for n_tasks in (8,) if small else (256, 1024, 4096):
        rows += measure_inner(n_tasks, 16, 128, 16, torch.bfloat16)
        rows += measure_inner(n_tasks, 16, 64, 16, torch.float32)
    if not small:
        record("inner_adapt_gpu", rows)
    if missed:
        fail("; ".join(missed))


if __name__ == "__main__":
    main()
