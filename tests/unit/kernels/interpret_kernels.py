"""Runs the kernels in Triton's interpreter on tiny shapes and prints errors as JSON; a script, not a test.

Memory that a launcher leaves to a kernel is filled with NaN first, so that a place that isn't written shows.
With the argument ``mutants`` each kernel is built from sources with one change that must show.
"""

import json
import os
import sys
import tempfile
import types
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "1"
import torch

from metarec_sdk.kernels import (
    adapter_add,
    adapter_gradients,
    gradient_kernels,
    launch,
    linear_adapter,
    plan,
    task_matmul,
    task_outer,
)

sys.path.insert(0, str(Path(__file__).parents[3] / "benches"))
import _atomic_gradients

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
assert torch.empty(3).isnan().all(), "new memory must be poisoned"
launch.runs_kernel = lambda x: True
launch.capability = lambda: 9
plan.CHUNK_ROWS = gradient_kernels.CHUNK_ROWS = 32
MODULES = {
    module.__name__.rsplit(".", 1)[-1]: module
    for module in (adapter_add, gradient_kernels, linear_adapter, task_matmul)
}
SHAPES = {
    "unsorted": (37, 5, 6, 20, 3, False),
    "long tasks, sorted": (150, 2, 33, 17, 16, True),
    "one": (1, 1, 1, 1, 1, False),
    "more tasks than rows": (5, 9, 4, 40, 5, False),
    "nobody": (0, 3, 4, 4, 2, False),
}


MUTANTS = [
    ("linear_adapter", "mask=n < N, other=0.0", "mask=n < N - 1, other=0.0", "bias masked too early"),
    (
        "linear_adapter",
        "down + k[:, None] * a_k + r[None, :] * a_r",
        "down + k[:, None] * a_r + r[None, :] * a_k",
        "A turned",
    ),
    ("linear_adapter", "tl.where(task >= 0, R, 0)", "R", "adapter without a task"),
    (
        "linear_adapter",
        "tl.load(offsets_ptr + task + 2)",
        "tl.load(offsets_ptr + task + 2) - 1",
        "last row lost",
    ),
    ("adapter_add", "total += tl.load(base_ptr", "total = tl.load(base_ptr", "base only"),
    ("gradient_kernels", "second = tl.dot(v, y, second", "second = tl.dot(v, y, first", "the two sums mixed"),
    (
        "gradient_kernels",
        "if (end > begin) & (end - begin <= CHUNK):",
        "if end - begin <= CHUNK:",
        "absent tasks not written",
    ),
    (
        "gradient_kernels",
        "            if start == begin:\n                slot += 1\n",
        "",
        "a chunk's place taken twice",
    ),
    ("gradient_kernels", "if end == begin:", "if end < begin:", "a step of absent tasks"),
    ("gradient_kernels", "- rate * factor * total", "+ rate * factor * total", "a step uphill"),
    ("gradient_kernels", "before * (1 - rate * decay)", "before", "no decay"),
    ("task_matmul", "if task >= 0:", "if task > 0:", "task 0 lost"),
]
"""(module, what is replaced, by what, name)"""


def mutant(name: str, old: str, new: str, folder: str) -> None:
    """Replace the kernel of a module by one built from a changed source."""
    module = MODULES[name]
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert old in source, f"{name} has no {old!r}"
    path = Path(folder) / f"mutant_{len(sys.modules)}.py"
    path.write_text(source.replace(old, new).replace('"metarec::', f'"{path.stem}::'), encoding="utf-8")
    made = types.ModuleType(path.stem)
    made.__file__ = str(path)
    sys.modules[made.__name__] = made
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), made.__dict__)
    setattr(module, builder(name), getattr(made, builder(name)))


def builder(name: str) -> str:
    """The function of a module that builds its kernels."""
    return "kernels" if name == "gradient_kernels" else "kernel"


def worst(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """The largest error relative to the largest value; NaN where something wasn't written."""
    errors = [
        float((one - other).abs().max() / other.abs().max().clamp(min=1)) if one.numel() else 0.0
        for one, other in zip(found, expected)
    ]
    return max(errors, key=lambda error: float("inf") if error != error else error)


def adapters(shape, dtype, shared, fused):
    """Forward, K2 and K3 of the layer against its reference in fp64."""
    n, n_tasks, d_in, d_out, r, is_sorted = shape
    generator = torch.Generator().manual_seed(n)
    tasks = torch.randint(-1, n_tasks, (n,), generator=generator)
    tasks = tasks.sort()[0] if is_sorted else tasks
    made = plan.plan_tasks(
        tasks, n_tasks, is_sorted=is_sorted, lists=True, block_rows=32 if is_sorted else 16
    )
    shapes = (n, d_in), (d_out, d_in), (d_out,), (1 if shared else n_tasks, r, d_in), (n_tasks, d_out, r)
    given = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    inputs = [value.to(dtype).requires_grad_() for value in given]
    exact = [value.detach().double().requires_grad_() for value in inputs]
    launch._WIDEST_ROW = 512 if fused else 0
    x, weight, bias, a, b = inputs
    y = linear_adapter.linear_adapter(x, weight, a, b, made, bias=bias, scale=1.7)
    x, weight, bias, a, b = exact
    reference = linear_adapter.linear_adapter_reference(x, weight, a, b, tasks, bias, 1.7)
    weights = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    found = [y, *torch.autograd.grad(y, inputs, weights.to(dtype))]
    expected = [reference, *torch.autograd.grad(reference, exact, weights.to(dtype).double())]
    return worst(found, expected)


def products(shape, dtype):
    """The two products by themselves, the outer one with either side the narrower."""
    n, n_tasks, d_in, d_out, _, _ = shape
    generator = torch.Generator().manual_seed(n)
    tasks = torch.randint(-1, n_tasks, (n,), generator=generator)
    made = plan.plan_tasks(tasks, n_tasks, lists=True, block_rows=16)
    x, y = (
        torch.randn(n, width, generator=generator, dtype=torch.float64).to(dtype) for width in (d_in, d_out)
    )
    matrices = torch.randn(n_tasks, d_in, d_out, generator=generator, dtype=torch.float64).to(dtype)
    found = [task_matmul.task_matmul(x, matrices, made), task_outer.task_outer(x, y, made)]
    found.append(task_outer.task_outer(y, x, made))
    x, y, matrices = x.double(), y.double(), matrices.double()
    expected = [
        task_matmul.task_matmul_reference(x, matrices, tasks),
        task_outer.task_outer_reference(x, y, tasks, n_tasks),
        task_outer.task_outer_reference(y, x, tasks, n_tasks),
    ]
    return worst(found, expected)


def transformed(dtype):
    """Gradients that can be differentiated again, and those of `torch.func` where autograd is off."""
    tasks = torch.tensor([1, 0, 1, -1])
    made = plan.plan_tasks(tasks, 2, lists=True, block_rows=16)
    generator = torch.Generator().manual_seed(0)
    x, weight, a, b = (
        torch.randn(s, generator=generator, dtype=torch.float64).to(dtype)
        for s in ((4, 3), (5, 3), (2, 2, 3), (2, 5, 2))
    )

    def loss(x, a, b):
        return linear_adapter.linear_adapter(x, weight, a, b, made).square().sum()

    leaves = [value.clone().requires_grad_() for value in (x, a, b)]
    once = torch.autograd.grad(loss(*leaves), leaves)
    again = torch.autograd.grad(loss(*leaves), leaves, create_graph=True)
    assert all(value.requires_grad for value in again)
    with torch.no_grad():
        pulled = torch.func.vjp(loss, x, a, b)[1](torch.ones((), dtype=dtype))
    return worst([*again, *pulled], [*once, *once])


def step(ids, n_tasks, r, dtype):
    """The optimiser's step in place: long, short and absent tasks, which keep their bytes."""
    tasks, n = torch.tensor(ids), len(ids)
    made = plan.plan_tasks(tasks, n_tasks, lists=True)
    generator = torch.Generator().manual_seed(0)
    ds, x, dy, s = (
        torch.randn(n, w, generator=generator).to(dtype) * (tasks >= 0)[:, None] for w in (r, 5, 6, r)
    )
    a, b = (torch.randn(n_tasks, *w, generator=generator).to(dtype) for w in ((r, 5), (6, r)))
    expected, absent = [], torch.bincount(tasks.clamp(min=0), tasks >= 0, n_tasks) == 0
    for value, left, right, factor in ((a, ds, x, 1.0), (b, dy, s, 1.5)):
        gradient = factor * task_outer.task_outer_reference(left.double(), right.double(), tasks, n_tasks)
        stepped = value.double() * (1 - 0.1 * 0.3) - 0.1 * gradient
        expected.append(torch.where(absent[:, None, None], value.double(), stepped))
    before = a[absent].clone(), b[absent].clone()
    adapter_gradients.adapter_step_(a, b, ds, x, dy, s, made, scale=1.5, rate=0.1, decay=0.3)
    if not (torch.equal(a[absent], before[0]) and torch.equal(b[absent], before[1])):
        return float("inf")
    return worst([a, b], expected)


def atomics(shape, dtype):
    """The atomic form that the benchmark compares with: its gradients, those of absent tasks included."""
    n, n_tasks, d, _, r, is_sorted = shape
    generator = torch.Generator().manual_seed(n)
    tasks = torch.randint(-1, n_tasks, (n,), generator=generator)
    tasks = tasks.sort()[0] if is_sorted else tasks
    made = plan.plan_tasks(tasks, n_tasks, is_sorted=is_sorted, lists=True)
    ds, s, x, dy = (torch.randn(n, width, generator=generator).to(dtype) for width in (r, r, d, d))
    found = _atomic_gradients.atomic_gradients(ds, x, dy, s, made)
    pairs = ((ds, x), (dy, s))
    expected = [
        task_outer.task_outer_reference(one.double(), other.double(), tasks, n_tasks) for one, other in pairs
    ]
    return worst(found, expected)


STEPS = {
    "long, short and absent tasks": ([0] * 70 + [2, 2, -1], 4, 3),
    "unsorted": ([3, 0, -1] * 30 + [1], 5, 3),
    "a rank beyond one program's": ([1] * 40 + [0], 3, 70),
    "nobody": ([-1, -1], 2, 3),
}


def mutants() -> dict[str, float]:
    """The worst error of every mutant on two small cases; infinite where one fails."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, old, new, label in MUTANTS:
            right = getattr(MODULES[name], builder(name))
            mutant(name, old, new, folder)
            short, long = SHAPES["unsorted"], SHAPES["long tasks, sorted"]
            absent = SHAPES["more tasks than rows"]
            try:
                if name == "gradient_kernels":
                    errors = [adapters(long, torch.float32, False, True), products(absent, torch.float32)]
                    errors += [step(*case, torch.float32) for case in list(STEPS.values())[:2]]
                elif name == "task_matmul":
                    errors = [products(short, torch.float32)]
                else:
                    errors = [adapters(short, torch.float32, False, name == "linear_adapter")]
            except Exception:
                errors = [float("inf")]
            results[label] = max(float("inf") if error != error else error for error in errors)
            setattr(MODULES[name], builder(name), right)
    return results


def main() -> None:
    if sys.argv[1:] == ["mutants"]:
        print(json.dumps(mutants()))
        return
    results = {}
    for dtype in (torch.float32, torch.float64):
        for name, shape in SHAPES.items():
            for shared, fused in ((False, True), (True, True), (False, False)):
                case = f"{dtype} {name} shared={shared} fused={fused}"
                results[case] = adapters(shape, dtype, shared, fused)
            results[f"{dtype} {name} products"] = products(shape, dtype)
        for name, case in STEPS.items():
            results[f"{dtype} step, {name}"] = step(*case, dtype)
        results[f"{dtype} again and transformed"] = transformed(dtype)
    for name in ("unsorted", "long tasks, sorted", "more tasks than rows"):
        results[f"float32 atomics, {name}"] = atomics(SHAPES[name], torch.float32)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
