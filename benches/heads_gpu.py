"""Heads and exact top-k on an NVIDIA GPU, checked, then measured against batched torch (about a minute).

    python benches/heads_gpu.py [--tune | --rehearse]

Checks before it measures, and exits where one fails: top-k against `ItemIndex` (equal ids and scores where
sums are exact, ids apart only within rounding where they aren't), heads and their gradients against float64
of the same rounded inputs, the same bytes over 5 runs, and CUDA graphs replayed with other inputs. Then
medians with p20 and p80 in microseconds, all formulations in turns: `natpar` (4,096 users, support 20, 50,000
items), `ridge` (support 5 to 50) against torch's batched dual and primal, and top-k (1,024 queries, 100,000
and a million items) against a product and `torch.topk`, in exact fp32 and with TF32. Tables of less than the
L2 cache stay in it. Appends to ``benches/results/heads_gpu.csv`` with card, versions and date. ``--tune``
tries other tiles instead, ``--rehearse`` runs everything on a CPU in small, without recording.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _gpu import DEVICE, Call, Row, fail, graph_of, measure, need_a_gpu, randn, record

from metarec_sdk.kernels import natpar as natpar_module
from metarec_sdk.kernels import ridge as ridge_module
from metarec_sdk.kernels import topk as topk_module
from metarec_sdk.ranking import ItemIndex


def seen(b: int, n: int, per_row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An exclusion of some items a row."""
    items = torch.randint(n, (b * per_row,), generator=torch.Generator().manual_seed(1))
    return torch.arange(0, b * per_row + 1, per_row, device=DEVICE), items.to(DEVICE)


def core_lists(
    queries: torch.Tensor, items: torch.Tensor, k: int, bias: torch.Tensor, exclude: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The Rust core's lists, padded."""
    host = [value.cpu().numpy() for value in (queries, items, bias, *exclude)]
    return ItemIndex(host[1], host[2]).topk(host[0], k, exclude=(host[3], host[4])).padded(k)


def check_topk(b: int, n: int, m: int, k: int) -> None:
    """Lists against the core's."""
    exclude, bias = seen(b, n, 20), randn(n, seed=2)
    whole = randn(b, m).round(), randn(n, m, seed=1).round(), (2 * bias).round() / 2  # sums are exact
    ids, scores = topk_module.topk(*whole[:2], k, bias=whole[2], exclude=exclude)
    expected = core_lists(*whole[:2], k, whole[2], exclude)
    if not (np.array_equal(ids.cpu(), expected[0]) and np.array_equal(scores.cpu(), expected[1])):
        fail(f"top-k of whole numbers, b={b} n={n} m={m} k={k}: not the lists of ItemIndex")
    queries, items = randn(b, m), randn(n, m, seed=1)
    expected = core_lists(queries, items, k, bias, exclude)
    for precision, bound in (("highest", 1e-6 * m), ("medium", 1e-2 * m**0.5)):
        torch.set_float32_matmul_precision(precision)
        runs = [topk_module.topk(queries, items, k, bias=bias, exclude=exclude) for _ in range(5)]
        torch.set_float32_matmul_precision("highest")
        ids, scores = runs[0]
        if not all(torch.equal(ids, run[0]) and torch.equal(scores, run[1]) for run in runs):
            fail(f"top-k {precision}: two runs gave different bytes")
        error = np.abs(scores.cpu().numpy() - expected[1]).max()
        same = (ids.cpu().numpy() == expected[0]).mean()
        bits = (scores.cpu().numpy() == expected[1]).mean()
        print(
            f"top-k {precision} b={b} n={n} m={m} k={k}: {same:.4%} of ids and {bits:.2%} of score bits are "
            f"those of ItemIndex, scores within {error:.1e}",
            flush=True,
        )
        if not error < bound:
            fail(f"top-k {precision}: a score is off by {error:.1e}, allowed {bound:.1e}")
        if precision == "highest" and same < 0.999:
            fail(f"top-k: only {same:.3%} of ids are those of ItemIndex")


def natpar_inputs(b: int, s: int, n: int, m: int) -> tuple[torch.Tensor, ...]:
    """support, weights, psi, variance, edges and mean; a third of the supports is padding."""
    support = torch.randint(n, (b, s), generator=torch.Generator().manual_seed(3)).to(DEVICE)
    lengths = torch.randint(s // 3, s + 1, (b, 1), generator=torch.Generator().manual_seed(4)).to(DEVICE)
    weights = (torch.arange(s, device=DEVICE) < lengths).float()
    edges = torch.tensor([1.0, 2, 3, 5, 7, 10, 20], device=DEVICE)
    return support, weights, randn(n, m), randn(8, m, seed=1).exp(), edges, randn(b, m, seed=2)


def ridge_inputs(b: int, s: int, n: int, m: int) -> tuple[torch.Tensor, ...]:
    """support, weights, factors, base, targets and right; the base is that of an iALS head."""
    support, weights, factors, *_, mean = natpar_inputs(b, s, n, m)
    factors = factors / m**0.5
    base = 0.1 * factors.T @ factors + torch.eye(m, device=DEVICE)
    return support, weights, factors, base, torch.ones_like(weights), mean


def normal_equations(
    support: torch.Tensor,
    weights: torch.Tensor,
    factors: torch.Tensor,
    base: torch.Tensor,
    targets: torch.Tensor,
    right: torch.Tensor,
) -> torch.Tensor:
    """Ridge in the primal by batched LU."""
    rows = factors[support]
    system = base + rows.mT @ (weights[:, :, None] * rows)
    total = (rows.mT @ (weights * targets)[:, :, None])[:, :, 0] + right
    return torch.linalg.solve_ex(system, total[:, :, None])[0][:, :, 0]


def check_head(
    name: str, call: Callable[..., Any], exact: Callable[..., Any], given: Any, bound: float
) -> None:
    """Values, gradients, bytes and a replayed graph of a head."""

    def both(function: Callable[..., Any], inputs: Any) -> list[torch.Tensor]:
        leaves = [value for value in inputs if value.requires_grad]
        w = function(*inputs)
        along = torch.linspace(-1, 1, w.numel(), device=DEVICE, dtype=w.dtype).view_as(w)
        return [w.detach(), *torch.autograd.grad(w, leaves, along)]

    learned = [2, 3, 5] if name == "natpar" else [1, 2, 3, 4, 5]
    inputs = [value.clone().requires_grad_(i in learned) for i, value in enumerate(given)]
    doubles = [
        (value.detach().double() if value.is_floating_point() else value).requires_grad_(value.requires_grad)
        for value in inputs
    ]
    expected = both(exact, doubles)
    if name == "ridge":  # only the symmetric part of the base's derivative has a meaning
        expected[3] = (expected[3] + expected[3].mT) / 2
    runs = [both(call, inputs) for _ in range(5)]
    if not all(torch.equal(one, two) for run in runs for one, two in zip(run, runs[0])):
        fail(f"{name}: two runs gave different bytes")
    errors = [float((one - two).abs().max() / two.abs().max()) for one, two in zip(runs[0], expected)]
    print(
        f"{name} s={given[0].shape[1]} errors of value and gradients",
        [f"{e:.1e}" for e in errors],
        flush=True,
    )
    if not max(errors) < bound:
        fail(f"{name}: off by {max(errors):.1e}, allowed {bound:.0e}")
    if DEVICE == "cuda":
        with torch.no_grad():
            try:
                captured, w = graph_of(lambda: call(*inputs))
            except RuntimeError as error:
                print(f"{name}: no graph ({str(error).splitlines()[0]})", flush=True)
                return
            inputs[0].copy_(given[0].flip(0))
            captured.replay()
            if not torch.equal(w, call(*inputs)):
                fail(f"{name}: a replayed CUDA graph gave values of other users")


def stepping(call: Callable[..., Any], given: Any, learned: tuple[int, ...]) -> Call:
    """Forward and backward of a head in some of its inputs."""
    inputs = [value.clone().requires_grad_(i in learned) for i, value in enumerate(given)]
    leaves = [inputs[i] for i in learned]
    along = randn(given[0].shape[0], given[2].shape[1], seed=9)
    return lambda: torch.autograd.grad(call(*inputs), leaves, along)


def measure_natpar(b: int, s: int, n: int, m: int) -> list[Row]:
    """Forward, and a step of the tables and the prior."""
    given = natpar_inputs(b, s, n, m)
    forms = {"ours": lambda *x: natpar_module.natpar(*x)[0]}
    forms |= {"torch": lambda *x: natpar_module.natpar_reference(*x)[0]}
    case = f"b={b} s={s} n={n} m={m}"
    rows = measure("natpar", case, {name: lambda f=f: f(*given) for name, f in forms.items()})
    steps = {name: stepping(f, given, (2, 3)) for name, f in forms.items()}
    return rows + measure("natpar forward+backward", case, steps)


def measure_ridge(b: int, s: int, n: int, m: int) -> list[Row]:
    """Forward, and a step of the base, which is what an outer loop learns."""
    given = ridge_inputs(b, s, n, m)
    forms = {"ours": ridge_module.ridge_solve, "torch dual or primal": ridge_module.ridge_reference}
    forms |= {"torch primal, linalg.solve": normal_equations}
    case = f"b={b} s={s} n={n} m={m}"
    rows = measure("ridge", case, {name: lambda f=f: f(*given) for name, f in forms.items()})
    steps = {name: stepping(f, given, (3,)) for name, f in forms.items()}
    return rows + measure("ridge forward+backward", case, steps, graphs=False)


def measure_topk(b: int, n: int, m: int, k: int) -> list[Row]:
    """Against a product with all items and `torch.topk` of it, whose order of ties is left open."""
    queries, items = randn(b, m), randn(n, m, seed=1)
    exclude = seen(b, n, 20)
    calls = {
        "ours": lambda: topk_module.topk(queries, items, k),
        "torch matmul, topk": lambda: torch.topk(queries @ items.T, k),
        "ours, 20 excluded a row": lambda: topk_module.topk(queries, items, k, exclude=exclude),
    }
    rows = []
    for precision, label in (("highest", "fp32"), ("medium", "tf32")):
        torch.set_float32_matmul_precision(precision)
        rows += measure(f"topk {label}", f"b={b} n={n} m={m} k={k}", calls, 10)
    torch.set_float32_matmul_precision("highest")
    return rows


def tune(b: int, n: int) -> None:
    """Other tiles of top-k and other numbers of warps of ridge, printed only."""
    shapes = [(64, 128, 16, 8), (64, 64, 16, 8), (32, 64, 16, 4), (32, 64, 16, 8), (32, 128, 16, 8)]
    shapes += [(16, 128, 16, 4), (16, 128, 16, 8), (128, 64, 16, 8)]
    heuristic = topk_module.blocks
    for m, k in ((64, 10), (128, 10), (128, 100)):
        queries, items = randn(b, m), randn(n, m, seed=1)
        for shape in shapes:
            topk_module.blocks = functools.partial(lambda s, *_: s, shape)
            call = functools.partial(topk_module.topk, queries, items, k)
            measure(f"topk {shape}", f"m={m} k={k}", {"ours": call}, 5, graphs=False)
    topk_module.blocks = heuristic
    for s in (10, 20, 50):
        given = ridge_inputs(b, s, 1000, 64)
        for count in (1, 2, 4, 8):
            ridge_module.warps = functools.partial(lambda w, _: w, count)
            call = functools.partial(ridge_module.ridge_solve, *given)
            measure(f"ridge warps={count}", f"s={s}", {"ours": call}, graphs=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tune", action="store_true", help="try other tiles; nothing is recorded")
    parser.add_argument("--rehearse", action="store_true", help="small, on a CPU; nothing is recorded")
    arguments = parser.parse_args()
    need_a_gpu(arguments.rehearse)
    small = arguments.rehearse
    if arguments.tune:
        tune(*((32, 500) if small else (1024, 100_000)))
        return
    for size in ((16, 700, 16, 5),) if small else ((256, 100_000, 64, 10), (300, 20_011, 100, 100)):
        check_topk(*size)
    users, n = (40, 300) if small else (2000, 5000)
    for s in (5, 16, 50):
        given = ridge_inputs(users, s, n, 64)
        check_head("ridge", ridge_module.ridge_solve, normal_equations, given, 2e-5)
        given = natpar_inputs(users, s, n, 64)
        call = natpar_module.natpar, natpar_module.natpar_reference
        check_head("natpar", *(lambda *x, f=f: f(*x)[0] for f in call), given, 2e-6)
    print("checks passed", flush=True)
    users, n = (64, 500) if small else (4096, 50_000)
    rows = measure_natpar(users, 20, n, 64)
    for s in (5, 10, 20, 50):
        rows += measure_ridge(users, s, n, 64)
    for n in (2000,) if small else (100_000, 1_000_000):
        for m in (64, 128):
            for k in (10, 100):
                rows += measure_topk(16 if small else 1024, n, m, k)
    if small:
        return
    record("heads_gpu", rows)


if __name__ == "__main__":
    main()
