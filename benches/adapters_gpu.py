"""Per-task adapters on an NVIDIA GPU, checked, then measured against what torch offers (minutes).

    python benches/adapters_gpu.py [--every | --rehearse]        (or: make bench-gpu)

Checks before it measures: errors against float64 of the same rounded inputs (fp32 < 1e-6, tf32 < 2e-3, as the
matrix units cut an operand after 10 bits, bf16 < 1e-2 of the largest value), of the optimiser's step in place
too, the same bytes over 20 runs, and a CUDA graph replayed with another mix of tasks. Then forward, and
forward with backward: the median with p20 and p80 in microseconds and the peak memory, eager and as a CUDA
graph, with inputs rotated through more memory than the L2 cache holds, against padded bmm and gather + bmm
(up to 2 GB of copies; as they are and, for the uniform mix, compiled), the ``grouped_mm`` chain (under 1,024
tasks) and a loop over tasks (64 of them). W is frozen, as it is where adapters are attached. The share of the
byte roofline is of the bytes that the layer must move at the card's nominal bandwidth. Before each size come
its parts in a graph: plan, base product, tiles of 16 and of 64 rows, and the gradients of A and B as they
are, with atomic additions and as a step in place. Appends to ``benches/results/adapters_gpu.csv`` with card,
versions and date.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from _atomic_gradients import atomic_gradients
from _gpu import DEVICE, need_a_gpu, record
from torch.nn import functional

from metarec_sdk.kernels.adapter_gradients import adapter_gradients, adapter_step_
from metarec_sdk.kernels.linear_adapter import linear_adapter, linear_adapter_reference
from metarec_sdk.kernels.plan import TaskPlan, plan_tasks

BANDWIDTH = {"H100": 3.35e12, "H200": 4.8e12, "A100": 2.0e12, "B200": 8.0e12}
L2_BYTES = 128 << 20
Tensors = list[torch.Tensor]
Size = tuple[str, int, int, int, int, torch.dtype]


def tasks_of(mix: str, n: int, n_tasks: int) -> torch.Tensor:
    """Sorted ids i64[n]."""
    generator = torch.Generator().manual_seed(0)
    if mix == "zipf":
        ids = torch.multinomial(torch.arange(1, n_tasks + 1) ** -1.5, n, True, generator=generator)
    elif mix == "identical":
        ids = torch.zeros(n, dtype=torch.int64)
    elif mix == "distinct":
        ids = torch.arange(n) % n_tasks
    else:
        ids = torch.randint(n_tasks, (n,), generator=generator)
    return ids.sort()[0].to(DEVICE)


def inputs_of(n: int, n_tasks: int, d: int, r: int, dtype: torch.dtype, seed: int = 0) -> Tensors:
    """x, weight, a, b that need gradients."""
    generator = torch.Generator(DEVICE).manual_seed(seed)
    shapes = (n, d), (d, d), (n_tasks, r, d), (n_tasks, d, r)
    made = [torch.randn(s, generator=generator, device=DEVICE) / s[-1] ** 0.5 for s in shapes]
    return [value.to(dtype).requires_grad_() for value in made]


def ours(given: Tensors, plan: TaskPlan) -> torch.Tensor:
    """The fused layer."""
    x, weight, a, b = given
    return linear_adapter(x, weight, a, b, plan)


def check(dtype: torch.dtype, precision: str, bound: float, small: bool) -> None:
    """Values and gradients against float64, and the same bytes in 20 runs; exits where they are not."""
    n, runs, widths = 5000, 20, [(128, 16), (256, 64), (100, 3), (512, 8)]
    if small:
        n, runs, widths = 400, 2, [(20, 3)]
    torch.set_float32_matmul_precision(precision)
    tasks = torch.randint(-1, 300, (n,), generator=torch.Generator().manual_seed(1)).to(DEVICE)
    plan = plan_tasks(tasks, 300)
    for d, r in widths:
        given = inputs_of(n, 300, d, r, dtype)
        exact = [value.detach().double().requires_grad_() for value in given]
        x, weight, a, b = exact
        reference = linear_adapter_reference(x, weight, a, b, tasks, None, 1.0)
        dy = torch.randn_like(reference).to(dtype)
        expected = [reference, *torch.autograd.grad(reference, exact, dy.double())]
        first: Tensors = []
        for _ in range(runs):
            y = ours(given, plan)
            found = [y, *torch.autograd.grad(y, given, dy)]
            first = first or found
            if not all(torch.equal(one, two) for one, two in zip(first, found)):
                sys.exit(f"{dtype} d={d} r={r}: two runs gave different bytes")
        for name, one, other in zip(("y", "dx", "dW", "dA", "dB"), first, expected):
            error = float((one - other).detach().abs().max() / other.detach().abs().max())
            if not error < bound:
                sys.exit(
                    f"{dtype} {precision} d={d} r={r}: {name} is off by {error:.1e}, allowed {bound:.0e}"
                )
        check_step(tasks, 300, d, r, dtype, bound, runs)
    torch.set_float32_matmul_precision("highest")


def check_step(
    tasks: torch.Tensor, n_tasks: int, d: int, r: int, dtype: torch.dtype, bound: float, runs: int
) -> None:
    """The optimiser's step in place, with a task of several chunks and absent ones: values against float64,
    the same bytes in 20 runs, and absent tasks untouched; exits where they are not."""
    tasks = torch.where(tasks > 290, -1, torch.where(tasks < 60, 0, tasks))
    plan = plan_tasks(tasks, n_tasks)
    ds, x, dy, s = gradient_inputs(tasks, d, r, dtype)
    before = [value.detach() for value in inputs_of(1, n_tasks, d, r, dtype)[2:]]
    first: Tensors = []
    for _ in range(runs):
        stepped = [value.clone() for value in before]
        adapter_step_(*stepped, ds, x, dy, s, plan, scale=1.5, rate=0.01, decay=0.1)
        first = first or stepped
        if not all(torch.equal(one, two) for one, two in zip(first, stepped)):
            sys.exit(f"{dtype} d={d} r={r}: two steps in place gave different bytes")
    absent = torch.bincount(tasks[tasks >= 0], minlength=n_tasks) == 0
    for name, old, new, left, right, factor in zip(
        "AB", before, first, (ds, dy), (x, s), (1.0, 1.5), strict=True
    ):
        gradient = factor * task_outer_of(left.double(), right.double(), tasks, n_tasks)
        expected = torch.where(
            absent[:, None, None], old.double(), old.double() * (1 - 0.01 * 0.1) - 0.01 * gradient
        )
        error = float((new - expected).abs().max() / expected.abs().max())
        if not torch.equal(new[absent], old[absent]) or not error < bound:
            sys.exit(
                f"{dtype} d={d} r={r}: the step of {name} in place is off by {error:.1e} or moves others"
            )


def gradient_inputs(tasks: torch.Tensor, d: int, r: int, dtype: torch.dtype) -> Tensors:
    """ds [n, r], x [n, d], dy [n, d] and s [n, r]; ds and s are 0 for rows without a task."""
    generator = torch.Generator(DEVICE).manual_seed(3)
    has = (tasks >= 0)[:, None]
    made = [torch.randn(len(tasks), w, generator=generator, device=DEVICE) for w in (r, d, d, r)]
    return [(value * has if value.shape[1] == r else value).to(dtype) for value in made]


def task_outer_of(left: torch.Tensor, right: torch.Tensor, tasks: torch.Tensor, n_tasks: int) -> torch.Tensor:
    """Sums of outer products f[T, k, n] task by task."""
    return torch.stack([left[tasks == task].mT @ right[tasks == task] for task in range(n_tasks)])


def check_graph() -> None:
    """A graph that holds the plan, replayed with other tasks; exits where its values are not theirs."""
    given = [value.detach() for value in inputs_of(4096, 200, 128, 16, torch.float32)]
    tasks = torch.randint(200, (4096,), device=DEVICE)
    for _ in range(3):
        ours(given, plan_tasks(tasks, 200, block_rows=32))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = ours(given, plan_tasks(tasks, 200, block_rows=32))
    tasks.copy_(torch.randint(-1, 7, (4096,), device=DEVICE))
    graph.replay()
    x, weight, a, b = given
    expected = linear_adapter_reference(x, weight, a, b, tasks, None, 1.0)
    if not torch.allclose(y, expected, rtol=1e-4, atol=1e-4):
        sys.exit("a replayed CUDA graph gave values of other tasks")


def peers(
    tasks: torch.Tensor, n_tasks: int, d: int, r: int, size: int, *, compiled: bool
) -> dict[str, Callable[[Tensors], Any]]:
    """The other formulations that fit into memory, their index tensors made beforehand."""
    counts = torch.bincount(tasks, minlength=n_tasks)
    ends = counts.cumsum(0)
    longest, offsets = int(counts.max()), ends.to(torch.int32)
    place = tasks * longest + torch.arange(len(tasks), device=DEVICE) - (ends - counts)[tasks]

    def padded(given: Tensors) -> torch.Tensor:
        x, weight, a, b = given
        filled = x.new_zeros(n_tasks * longest, d).index_copy(0, place, x).view(n_tasks, longest, d)
        out = torch.bmm(torch.bmm(filled, a.mT), b.mT).view(-1, d)
        return functional.linear(x, weight) + out.index_select(0, place)

    def gathered(given: Tensors) -> torch.Tensor:
        x, weight, a, b = given
        down = torch.bmm(a[tasks], x[:, :, None])
        return functional.linear(x, weight) + torch.bmm(b[tasks], down)[:, :, 0]

    bounds = [0, *ends.tolist()]

    def looped(given: Tensors) -> torch.Tensor:
        x, weight, a, b = given
        parts = [
            x[start:end] @ a[task].T @ b[task].T
            for task, (start, end) in enumerate(pairwise(bounds))
            if end > start
        ]
        return functional.linear(x, weight) + torch.cat(parts)

    def chain(given: Tensors) -> torch.Tensor:
        x, weight, a, b = given
        down = functional.grouped_mm(x, a.mT, offs=offsets)
        return functional.linear(x, weight) + functional.grouped_mm(down, b.mT, offs=offsets)

    found: dict[str, Callable[[Tensors], Any]] = {}
    if n_tasks * longest * d * size < 2 << 30:
        found["padded_bmm"] = padded
        if compiled:
            found["padded_bmm, compiled"] = torch.compile(padded, dynamic=False)
    if 2 * len(tasks) * r * d * size < 2 << 30:
        found["gather_bmm"] = gathered
        if compiled:
            found["gather_bmm, compiled"] = torch.compile(gathered, dynamic=False)
    if n_tasks < 1024:
        found["grouped_mm"] = chain
    if n_tasks <= 64:
        found["loop"] = looped
    return found


def microseconds(calls: list[Callable[[], Any]], *, graph: bool, repeats: int = 30) -> list[float]:
    """p20, median and p80 of one call; the calls are the same work on inputs of their own, taken in turns."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            for call in calls:
                call()
    torch.cuda.current_stream().wait_stream(side)
    if graph:
        replays = []
        for call in calls:
            captured = torch.cuda.CUDAGraph()
            with torch.cuda.graph(captured):
                call()
            replays.append(captured.replay)
        calls = replays
    taken = []
    for repeat in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        calls[repeat % len(calls)]()
        end.record()
        torch.cuda.synchronize()
        taken.append(begin.elapsed_time(end) * 1e3)
    return [float(torch.tensor(taken).quantile(q)) for q in (0.2, 0.5, 0.8)]


def timed(calls: list[Callable[[], Any]], *, graph: bool) -> tuple[list[float], float]:
    """(p20, median and p80 in microseconds, peak MB) of one call."""
    if DEVICE == "cpu":
        started = time.perf_counter()
        calls[0]()
        return [(time.perf_counter() - started) * 1e6] * 3, 0.0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    times = microseconds(calls, graph=graph)
    return times, (torch.cuda.max_memory_allocated() - before) / 2**20


def bandwidth_of_card() -> float | None:
    """Nominal, in bytes a second; None where it isn't known."""
    card = torch.cuda.get_device_name() if DEVICE == "cuda" else ""
    return next((value for name, value in BANDWIDTH.items() if name in card), None)


def row(
    name: str, part: str, graph: bool, size: Size, times: list[float], peak: float, share: float | None
) -> dict[str, Any]:
    """A line of the CSV."""
    mix, n, n_tasks, d, r, dtype = size
    made = {"formulation": name, "pass": part, "mode": "graph" if graph else "eager"}
    made |= {"mix": mix, "rows": n, "tasks": n_tasks, "width": d, "rank": r, "dtype": str(dtype)[6:]}
    made |= dict(zip(("p20_us", "median_us", "p80_us"), (round(value, 1) for value in times)))
    made |= {"peak_mb": round(peak, 1), "roofline_share": "" if share is None else round(share, 3)}
    print(made, flush=True)
    return made


def measure_parts(mix: str, n: int, n_tasks: int, d: int, r: int, dtype: torch.dtype) -> list[dict[str, Any]]:
    """The parts of the layer by themselves; one row each."""
    tasks = tasks_of(mix, n, n_tasks)
    shuffled = tasks[torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(DEVICE)]
    copies = max(2, L2_BYTES // (2 * n * d * dtype.itemsize) + 1)
    layers = [[value.detach() for value in inputs_of(n, n_tasks, d, r, dtype, i)] for i in range(copies)]
    sums = [gradient_inputs(tasks, d, r, dtype) for _ in range(copies)]
    plans = {block: plan_tasks(tasks, n_tasks, is_sorted=True, block_rows=block) for block in (16, 64)}
    plan = plan_tasks(tasks, n_tasks, is_sorted=True)

    def tiled(block: int) -> list[Callable[[], Any]]:
        return [lambda given=given: ours(given, plans[block]) for given in layers]

    parts: dict[tuple[str, str], list[Callable[[], Any]]] = {
        ("base_alone", "forward"): [lambda g=g: functional.linear(g[0], g[1]) for g in layers],
        ("ours, tiles of 16", "forward"): tiled(16),
        ("ours, tiles of 64", "forward"): tiled(64),
        ("plan, sorted", "plan"): [lambda: plan_tasks(tasks, n_tasks, is_sorted=True)],
        ("plan, unsorted", "plan"): [lambda: plan_tasks(shuffled, n_tasks)],
        ("ours, dA and dB", "gradients"): [lambda g=g: adapter_gradients(*g, plan) for g in sums],
        ("ours, step in place", "gradients"): [
            lambda g=g, m=m: adapter_step_(*m[2:], *g, plan, rate=1e-3) for g, m in zip(sums, layers)
        ],
    }
    if DEVICE == "cuda":
        parts["atomic dA and dB", "gradients"] = [lambda g=g: atomic_gradients(*g, plan) for g in sums]
        for found, expected in zip(atomic_gradients(*sums[0], plan), adapter_gradients(*sums[0], plan)):
            if not torch.allclose(found, expected, rtol=2e-2, atol=1e-2 * float(expected.abs().max())):
                sys.exit("the atomic gradients aren't those of the deterministic kernels")
    graph, size = DEVICE == "cuda", (mix, n, n_tasks, d, r, dtype)
    return [row(*name, graph, size, *timed(calls, graph=graph), None) for name, calls in parts.items()]


def measure(mix: str, n: int, n_tasks: int, d: int, r: int, dtype: torch.dtype) -> list[dict[str, Any]]:
    """One row a formulation, pass and mode."""
    tasks = tasks_of(mix, n, n_tasks)
    plan = plan_tasks(tasks, n_tasks, is_sorted=True)
    copies = max(2, L2_BYTES // (n * d * dtype.itemsize) + 1)
    inputs = [inputs_of(n, n_tasks, d, r, dtype, seed) for seed in range(copies)]
    for given in inputs:
        given[1].requires_grad_(False)  # else a custom function computes ∂W too, asked for or not
    dy = torch.randn(n, d, device=DEVICE).to(dtype)
    present = int((torch.bincount(tasks, minlength=n_tasks) > 0).sum())
    floor = (2 * n * d + 2 * present * r * d) * dtype.itemsize
    bandwidth = bandwidth_of_card()
    calls: dict[str, Callable[[Tensors], Any]] = {"ours": lambda given: ours(given, plan)}
    calls |= peers(tasks, n_tasks, d, r, dtype.itemsize, compiled=mix == "uniform" and DEVICE == "cuda")
    rows = []
    for name, call in calls.items():
        for both in (False, True):

            def run(given: Tensors, call: Any = call, both: bool = both) -> Any:
                if both:
                    return torch.autograd.grad(call(given), [given[0], *given[2:]], dy)
                with torch.no_grad():
                    return call(given)

            for graph in (False, True) if DEVICE == "cuda" else (False,):
                times, peak = timed([lambda given=given: run(given) for given in inputs], graph=graph)
                share = floor / bandwidth * 1e6 / times[1] if bandwidth and not both else None
                of = name, "both" if both else "forward", graph, (mix, n, n_tasks, d, r, dtype)
                rows.append(row(*of, times, peak, share))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", action="store_true", help="all sizes, mixes and types (hours)")
    parser.add_argument("--rehearse", action="store_true", help="small, on a CPU; nothing is recorded")
    arguments = parser.parse_args()
    need_a_gpu(arguments.rehearse)
    for dtype, precision, bound in (
        (torch.float32, "highest", 1e-6),
        (torch.float32, "medium", 2e-3),
        (torch.bfloat16, "highest", 1e-2),
        (torch.float16, "highest", 1e-2),
    ):
        check(dtype, precision, bound, arguments.rehearse)
    if DEVICE == "cuda":
        check_graph()
    print("checks passed", flush=True)
    if arguments.rehearse:
        for mix in ("uniform", "zipf"):
            measure(mix, 300, 20, 32, 4, torch.float32)
            measure_parts(mix, 300, 20, 32, 4, torch.float32)
        return
    shapes = [(8192, 128), (32768, 128), (65536, 256), (65536, 1024)]
    every = [(n, tasks, d, r) for n, d in shapes for tasks in (64, 1000, 8000) for r in (16, 64)]
    usual = [(65536, 1000, 256, 16), (65536, 1000, 256, 64), (32768, 1000, 128, 16), (65536, 8000, 256, 16)]
    usual += [(32768, 4000, 128, 16), (65536, 64, 256, 16), (8192, 1000, 128, 16)]
    mixes = ("uniform", "zipf", "distinct", "identical") if arguments.every else ("uniform", "zipf")
    dtypes = (torch.bfloat16, torch.float32) if arguments.every else (torch.bfloat16,)
    for size in every if arguments.every else usual:
        for mix in mixes:
            for dtype in dtypes:
                record("adapters_gpu", measure_parts(mix, *size, dtype))
                record("adapters_gpu", measure(mix, *size, dtype))


if __name__ == "__main__":
    main()
