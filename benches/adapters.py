"""Per-task adapters on a CPU: a layer forward and backward, and meta-training steps a second.

    python benches/adapters.py [--threads 1] [--repeats 15] [--quick]

The layer (width 64, rank 8, float32) against a Python loop over tasks, padded bmm, gather + bmm and a chain
of ``grouped_mm``, all of which get sorted ids and their index tensors for nothing, as the plan is. A
meta-training step is one outer gradient of MAML (two inner steps, exact to second order, 8 support and 8
query rows a task, squared loss) against the loop over tasks with ``create_graph=True``,
``vmap(grad(functional_call))`` and ``higher`` (Grefenstette et al. 2019, arXiv:1910.01727) where it is
installed, which adapts one task after the other. A training step of 100,000 tasks is a plan, forward,
backward and SGD on a batch of 512 of them: with sparse gradients, with dense ones, and with sparse embeddings
that are gathered for every row.

Time is the processor time of the thread where there is one thread, else wall-clock time; runs are interleaved
and medians compared. Appends to ``benches/results/adapters.jsonl``.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from _record import append, machine
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from metarec_sdk.adapters.adapted_linear import TaskAdapter
from metarec_sdk.kernels.linear_adapter import linear_adapter
from metarec_sdk.kernels.plan import plan_tasks

try:
    import higher
except ImportError:
    higher = None

D, R, STEPS, SHOT, RATE = 64, 8, 2, 8, 0.05


def measured(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The median milliseconds of each call, in turns.

    Each turn has an order of its own: whoever follows the largest formulation finds cold caches and pays for
    the pages that it gave back.
    """
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    turns = random.Random(0)
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name in turns.sample(list(calls), len(calls)):
            begin = clock()
            calls[name]()
            seconds[name].append(clock() - begin)
    return {name: statistics.median(values) * 1e3 for name, values in seconds.items()}


def tasks_of(mix: str, n_tasks: int, per_task: int) -> torch.Tensor:
    """Sorted ids of n_tasks · per_task rows."""
    generator = torch.Generator().manual_seed(0)
    n = n_tasks * per_task
    if mix == "equal":
        return torch.arange(n_tasks).repeat_interleave(per_task)
    if mix == "uniform":
        return torch.randint(n_tasks, (n,), generator=generator).sort()[0]
    return torch.multinomial(torch.arange(1, n_tasks + 1) ** -1.5, n, True, generator=generator).sort()[0]


def layer(mix: str, n_tasks: int, per_task: int, repeats: int) -> dict[str, float]:
    """Milliseconds of forward and backward (x, A and B) of each formulation, which all give the same."""
    tasks = tasks_of(mix, n_tasks, per_task)
    n = len(tasks)
    generator = torch.Generator().manual_seed(1)
    x, a, b, dy = (
        torch.randn(s, generator=generator) for s in ((n, D), (n_tasks, R, D), (n_tasks, D, R), (n, D))
    )
    inputs = x, a, b = x.requires_grad_(), a.requires_grad_(), b.requires_grad_()
    weight = torch.randn(D, D, generator=generator)
    plan = plan_tasks(tasks, n_tasks, is_sorted=True)
    counts = torch.bincount(tasks, minlength=n_tasks)
    ends = counts.cumsum(0)
    longest, offsets = int(counts.max()), ends.to(torch.int32)
    present = counts.nonzero()[:, 0].tolist()
    lengths = counts[present].tolist()
    place = tasks * longest + torch.arange(n) - (ends - counts)[tasks]

    def ours() -> torch.Tensor:
        return linear_adapter(x, weight, a, b, plan)

    def loop() -> torch.Tensor:
        # unbind and split: indexing by task would fill a gradient of all tasks for each of them.
        matrices = a.unbind(0), b.unbind(0)
        rows = zip(present, x.split(lengths))
        parts = [(part @ matrices[0][task].T) @ matrices[1][task].T for task, part in rows]
        return functional.linear(x, weight) + torch.cat(parts)

    def padded() -> torch.Tensor:
        filled = x.new_zeros(n_tasks * longest, D).index_copy(0, place, x).view(n_tasks, longest, D)
        out = torch.bmm(torch.bmm(filled, a.mT), b.mT).view(-1, D)
        return functional.linear(x, weight) + out.index_select(0, place)

    def gathered() -> torch.Tensor:
        down, up = a.index_select(0, tasks), b.index_select(0, tasks)
        return functional.linear(x, weight) + torch.bmm(up, torch.bmm(down, x[:, :, None]))[:, :, 0]

    def chain() -> torch.Tensor:
        down = functional.grouped_mm(x, a.mT, offs=offsets)
        return functional.linear(x, weight) + functional.grouped_mm(down, b.mT, offs=offsets)

    calls = {"ours": ours, "grouped_mm": chain, "loop": loop}
    if n_tasks * longest <= 300_000:
        calls["padded_bmm"] = padded
    if n <= 20_000:
        calls["gather_bmm"] = gathered
    expected = ours()
    for call in calls.values():
        torch.testing.assert_close(call(), expected, rtol=1e-3, atol=1e-2)
    return measured(
        {k: lambda call=v: torch.autograd.grad(call(), inputs, dy) for k, v in calls.items()}, repeats
    )


def meta_training(n_tasks: int, repeats: int) -> dict[str, float]:
    """Milliseconds of one outer gradient (of the start of A and B) of each formulation."""
    generator = torch.Generator().manual_seed(0)
    rows = n_tasks * SHOT
    support, query, target, wanted = (torch.randn(rows, D, generator=generator) for _ in range(4))
    start = [torch.randn(R, D, generator=generator) / 8, torch.randn(D, R, generator=generator) / 8]
    start = [value.requires_grad_() for value in start]
    plan = plan_tasks(torch.arange(n_tasks).repeat_interleave(SHOT), n_tasks, is_sorted=True)
    by_task = [value.view(n_tasks, SHOT, D) for value in (support, target, query, wanted)]

    def ours() -> Any:
        a, b = (value.expand(n_tasks, -1, -1) for value in start)
        for _ in range(STEPS):
            loss = (linear_adapter(support, None, a, b, plan) - target).square().sum() / (SHOT * D)
            for_a, for_b = torch.autograd.grad(loss, (a, b), create_graph=True)
            a, b = a - RATE * for_a, b - RATE * for_b
        outer = (linear_adapter(query, None, a, b, plan) - wanted).square().mean()
        return torch.autograd.grad(outer, start)

    def loop() -> Any:
        total = torch.zeros(())
        for xs, ts, xq, tq in zip(*by_task):
            a, b = start
            for _ in range(STEPS):
                loss = ((xs @ a.T) @ b.T - ts).square().mean()
                for_a, for_b = torch.autograd.grad(loss, (a, b), create_graph=True)
                a, b = a - RATE * for_a, b - RATE * for_b
            total = total + ((xq @ a.T) @ b.T - tq).square().mean() / n_tasks
        return torch.autograd.grad(total, start)

    module = torch.nn.Sequential(torch.nn.Linear(D, R, bias=False), torch.nn.Linear(R, D, bias=False))
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), start):
            parameter.copy_(value)

    def loss_of(parameters: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (functional_call(module, parameters, (x,)) - y).square().mean()

    def of_task(parameters: dict[str, torch.Tensor], *data: torch.Tensor) -> torch.Tensor:
        for _ in range(STEPS):
            found = grad(loss_of)(parameters, *data[:2])
            parameters = {name: value - RATE * found[name] for name, value in parameters.items()}
        return loss_of(parameters, *data[2:])

    def mapped() -> Any:
        def mean(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
            return vmap(of_task, (None, 0, 0, 0, 0))(parameters, *by_task).mean()

        found = grad(mean)({"0.weight": start[0].detach(), "1.weight": start[1].detach()})
        return tuple(found.values())

    def by_higher() -> Any:
        optimiser = torch.optim.SGD(module.parameters(), lr=RATE)
        total = torch.zeros(())
        for xs, ts, xq, tq in zip(*by_task):
            with higher.innerloop_ctx(module, optimiser, copy_initial_weights=False) as (adapted, inner):
                for _ in range(STEPS):
                    inner.step((adapted(xs) - ts).square().mean())
                total = total + (adapted(xq) - tq).square().mean() / n_tasks
        return torch.autograd.grad(total, list(module.parameters()))

    calls = {"ours": ours, "vmap_grad": mapped, "loop": loop}
    if higher is not None:
        calls["higher"] = by_higher
    expected = ours()
    for call in calls.values():
        torch.testing.assert_close(call(), expected, rtol=1e-3, atol=1e-5)
    return measured(calls, repeats)


def training(n_tasks: int, repeats: int) -> dict[str, float]:
    """Milliseconds of one step of SGD of each formulation, on 4,096 rows of 512 of the tasks."""
    generator = torch.Generator().manual_seed(0)
    batch = torch.randperm(n_tasks, generator=generator)[:512]
    tasks = batch[torch.randint(512, (4096,), generator=generator)]
    x, wanted = (torch.randn(4096, D, generator=generator) for _ in range(2))
    weight = torch.randn(D, D, generator=generator)
    start = TaskAdapter(D, D, tasks=n_tasks, rank=R).state_dict()

    def step(sparse: bool) -> Callable[[], Any]:
        adapter = TaskAdapter(D, D, tasks=n_tasks, rank=R, sparse=sparse)
        adapter.load_state_dict(start)

        def forward() -> torch.Tensor:
            return adapter(x, plan_tasks(tasks, n_tasks), weight)

        return stepping(forward, list(adapter.parameters()))

    tables = [start[name].flatten(1).clone().requires_grad_() for name in ("a", "b")]

    def embedded() -> torch.Tensor:
        down, up = (functional.embedding(tasks, table, sparse=True) for table in tables)
        low = torch.bmm(down.view(-1, R, D), x[:, :, None])
        return functional.linear(x, weight) + torch.bmm(up.view(-1, D, R), low)[:, :, 0]

    def stepping(forward: Callable[[], torch.Tensor], parameters: list[torch.Tensor]) -> Callable[[], Any]:
        optimiser = torch.optim.SGD(parameters, lr=RATE)

        def once() -> None:
            optimiser.zero_grad()
            (forward() - wanted).square().mean().backward()
            optimiser.step()

        return once

    calls = {"ours": step(True), "dense": step(False), "embedding_bmm": stepping(embedded, tables)}
    return measured(calls, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="small sizes only, nothing is recorded")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    shapes = {16: (4, 64, 256), 64: (16,), 256: (1, 16, 64), 4096: (1, 4, 16)}
    sizes = [(n_tasks, rows) for n_tasks, several in shapes.items() for rows in several]
    sizes = [size for size in sizes if not arguments.quick or size[0] * size[1] <= 1024]
    for n_tasks, per_task in sizes:
        for mix in ("uniform",) if n_tasks < 256 else ("uniform", "equal", "zipf"):
            found = layer(mix, n_tasks, per_task, arguments.repeats if n_tasks < 4096 else 7)
            rows.append({"what": "layer", "tasks": n_tasks, "rows_a_task": per_task, "mix": mix, **found})
            show(rows[-1])
    for n_tasks in (16,) if arguments.quick else (16, 256, 4096):
        found = meta_training(n_tasks, arguments.repeats if n_tasks < 4096 else 3)
        rows.append({"what": "meta-training step", "tasks": n_tasks, **found})
        show(rows[-1])
    if not arguments.quick:
        found = training(100_000, 5)
        rows.append({"what": "training step", "tasks": 100_000, **found})
        show(rows[-1])
        append("adapters", {"rows": rows, "threads": arguments.threads, "machine": machine("torch")})


def show(row: dict[str, Any]) -> None:
    """One line: milliseconds, and ours as a ratio to the best other."""
    times = {name: value for name, value in row.items() if isinstance(value, float)}
    best = min(value for name, value in times.items() if name != "ours")
    label = " ".join(str(value) for value in row.values() if not isinstance(value, float))
    listed = ", ".join(f"{name} {value:.2f}" for name, value in times.items())
    print(f"{label}: ours / best = {times['ours'] / best:.2f} ({listed} ms)", flush=True)


if __name__ == "__main__":
    main()
