"""Per-task adapters on an NVIDIA GPU, checked, then measured against what torch offers (minutes).

    python benches/adapters_gpu.py [--every]        (or: make bench-gpu)

Checks before it measures: errors against float64 of the same rounded inputs (fp32 < 1e-6, tf32 < 2e-3, as the
matrix units cut an operand after 10 bits, bf16 < 1e-2 of the largest value), the same bytes over 20 runs, and
a CUDA graph replayed with another mix of tasks. Then forward, and forward with backward: the median with p20
and p80 in microseconds and the peak memory, eager and as a CUDA graph, with inputs rotated through more
memory than the L2 cache holds, against padded bmm and gather + bmm (up to 2 GB of copies; as they are and,
for the uniform mix, compiled), the ``grouped_mm`` chain (under 1,024 tasks) and a loop over tasks (64 of
them). The share of the byte roofline is of the bytes that the layer must move at the card's nominal
bandwidth. Appends to ``benches/results/adapters_gpu.csv`` with card, versions and date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from _gpu import record
from torch.nn import functional

from metarec_sdk.kernels.linear_adapter import linear_adapter, linear_adapter_reference
from metarec_sdk.kernels.plan import TaskPlan, plan_tasks

BANDWIDTH = {"H100": 3.35e12, "H200": 4.8e12, "A100": 2.0e12, "B200": 8.0e12}
L2_BYTES = 128 << 20
Tensors = list[torch.Tensor]


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
    return ids.sort()[0].cuda()


def inputs_of(n: int, n_tasks: int, d: int, r: int, dtype: torch.dtype, seed: int = 0) -> Tensors:
    """x, weight, a, b that need gradients."""
    generator = torch.Generator("cuda").manual_seed(seed)
    shapes = (n, d), (d, d), (n_tasks, r, d), (n_tasks, d, r)
    made = [torch.randn(s, generator=generator, device="cuda") / s[-1] ** 0.5 for s in shapes]
    return [value.to(dtype).requires_grad_() for value in made]


def ours(given: Tensors, plan: TaskPlan) -> torch.Tensor:
    """The fused layer."""
    x, weight, a, b = given
    return linear_adapter(x, weight, a, b, plan)


def check(dtype: torch.dtype, precision: str, bound: float) -> None:
    """Values and gradients against float64, and the same bytes in 20 runs; exits where they are not."""
    torch.set_float32_matmul_precision(precision)
    tasks = torch.randint(-1, 300, (5000,), generator=torch.Generator().manual_seed(1)).cuda()
    plan = plan_tasks(tasks, 300)
    for d, r in ((128, 16), (256, 64), (100, 3), (512, 8)):
        given = inputs_of(5000, 300, d, r, dtype)
        exact = [value.detach().double().requires_grad_() for value in given]
        x, weight, a, b = exact
        reference = linear_adapter_reference(x, weight, a, b, tasks, None, 1.0)
        dy = torch.randn_like(reference).to(dtype)
        expected = [reference, *torch.autograd.grad(reference, exact, dy.double())]
        first: Tensors = []
        for _ in range(20):
            y = ours(given, plan)
            found = [y, *torch.autograd.grad(y, given, dy)]
            first = first or found
            if not all(torch.equal(one, two) for one, two in zip(first, found)):
                sys.exit(f"{dtype} d={d} r={r}: two runs gave different bytes")
        for name, one, other in zip(("y", "dx", "dW", "dA", "dB"), first, expected):
            error = float((one - other).abs().max() / other.abs().max())
            if not error < bound:
                sys.exit(
                    f"{dtype} {precision} d={d} r={r}: {name} is off by {error:.1e}, allowed {bound:.0e}"
                )
    torch.set_float32_matmul_precision("highest")


def check_graph() -> None:
    """A graph that holds the plan, replayed with other tasks; exits where its values are not theirs."""
    given = [value.detach() for value in inputs_of(4096, 200, 128, 16, torch.float32)]
    tasks = torch.randint(200, (4096,), device="cuda")
    for _ in range(3):
        ours(given, plan_tasks(tasks, 200, block_rows=32))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = ours(given, plan_tasks(tasks, 200, block_rows=32))
    tasks.copy_(torch.randint(-1, 7, (4096,), device="cuda"))
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
    place = tasks * longest + torch.arange(len(tasks), device="cuda") - (ends - counts)[tasks]

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


def measure(mix: str, n: int, n_tasks: int, d: int, r: int, dtype: torch.dtype) -> list[dict[str, Any]]:
    """One row a formulation, pass and mode."""
    tasks = tasks_of(mix, n, n_tasks)
    plan = plan_tasks(tasks, n_tasks, is_sorted=True)
    copies = max(2, L2_BYTES // (n * d * dtype.itemsize) + 1)
    inputs = [inputs_of(n, n_tasks, d, r, dtype, seed) for seed in range(copies)]
    dy = torch.randn(n, d, device="cuda").to(dtype)
    present = int((torch.bincount(tasks, minlength=n_tasks) > 0).sum())
    floor = (2 * n * d + 2 * present * r * d) * dtype.itemsize
    card = torch.cuda.get_device_name()
    bandwidth = next((value for name, value in BANDWIDTH.items() if name in card), None)
    calls: dict[str, Callable[[Tensors], Any]] = {"ours": lambda given: ours(given, plan)}
    calls |= peers(tasks, n_tasks, d, r, dtype.itemsize, compiled=mix == "uniform")
    rows = []
    for name, call in calls.items():
        for both in (False, True):

            def run(given: Tensors, call: Any = call, both: bool = both) -> Any:
                if both:
                    return torch.autograd.grad(call(given), [given[0], *given[2:]], dy)
                with torch.no_grad():
                    return call(given)

            for graph in (False, True):
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
                times = microseconds([lambda given=given: run(given) for given in inputs], graph=graph)
                share = floor / bandwidth * 1e6 / times[1] if bandwidth and not both else None
                rows.append(
                    {
                        "formulation": name,
                        "pass": "both" if both else "forward",
                        "mode": "graph" if graph else "eager",
                        "mix": mix,
                        "rows": n,
                        "tasks": n_tasks,
                        "width": d,
                        "rank": r,
                        "dtype": str(dtype)[6:],
                        "p20_us": round(times[0], 1),
                        "median_us": round(times[1], 1),
                        "p80_us": round(times[2], 1),
                        "peak_mb": round((torch.cuda.max_memory_allocated() - before) / 2**20, 1),
                        "roofline_share": "" if share is None else round(share, 3),
                    }
                )
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", action="store_true", help="all sizes, mixes and types (hours)")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA device: this benchmark measures the GPU kernels; benches/adapters.py runs on a CPU")
    for dtype, precision, bound in (
        (torch.float32, "highest", 1e-6),
        (torch.float32, "medium", 2e-3),
        (torch.bfloat16, "highest", 1e-2),
        (torch.float16, "highest", 1e-2),
    ):
        check(dtype, precision, bound)
    check_graph()
    print("checks passed", flush=True)
    shapes = [(8192, 128), (32768, 128), (65536, 256), (65536, 1024)]
    every = [(n, tasks, d, r) for n, d in shapes for tasks in (64, 1000, 8000) for r in (16, 64)]
    usual = [(65536, 1000, 256, 16), (65536, 1000, 256, 64), (32768, 1000, 128, 16), (65536, 8000, 256, 16)]
    usual += [(32768, 4000, 128, 16), (65536, 64, 256, 16), (8192, 1000, 128, 16)]
    rows = [
        row
        for size in (every if arguments.every else usual)
        for mix in (("uniform", "zipf", "distinct", "identical") if arguments.every else ("uniform", "zipf"))
        for dtype in ((torch.bfloat16, torch.float32) if arguments.every else (torch.bfloat16,))
        for row in measure(mix, *size, dtype)
    ]
    record("adapters_gpu", rows)


if __name__ == "__main__":
    main()
