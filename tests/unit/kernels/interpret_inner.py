"""Runs the kernels of the inner loop in Triton's interpreter and prints errors as JSON; a script, not a test.

Memory that a launcher leaves to a kernel is filled with NaN first. With the argument ``mutants`` each kernel
is built from sources with one change that must show.
"""

import json
import sys
import tempfile

import interpret_kernels as shared
import torch

from metarec_sdk.kernels import inner_kernels
from metarec_sdk.kernels.inner_adapt import inner_adapt, inner_adapt_reference
from metarec_sdk.kernels.inner_losses import LogisticLoss, SampledSoftmaxLoss, SquaredLoss
from metarec_sdk.kernels.plan import plan_tasks

N_TASKS, D_IN, D_OUT, R = 6, 3, 4, 2
MIXES = {"unsorted": [2, 0, -1, 2, 2, 4], "nobody": [], "long": [1] * 30 + [0]}
MUTANTS = [
    ("inner_kernels", "g = (p - label)[:, None] * q", "g = p[:, None] * q", "labels ignored"),
    ("inner_kernels", "k = (p * (1 - p) * tl.sum(v * q, 1))", "k = (p * tl.sum(v * q, 1))", "Hessian wrong"),
    (
        "inner_kernels",
        "mask = inside[:, None] & (d < D)",
        "mask = inside[:, None] & (d < D - 1)",
        "a column lost",
    ),
]
"""(module, what is replaced, by what, name)"""


def losses(n: int, draw) -> dict:
    """Every loss on n rows."""
    generator = torch.Generator().manual_seed(n)
    candidates = torch.randint(9, (n, 5), generator=generator)
    return {
        "squared": SquaredLoss(draw(n, D_OUT)),
        "logistic": LogisticLoss(draw(n, D_OUT), draw(n).abs().clamp(max=1)),
        "softmax": SampledSoftmaxLoss(candidates, draw(9, D_OUT)),
        "softmax with proposal": SampledSoftmaxLoss(candidates, draw(9, D_OUT), draw(n, 5)),
    }


def error_of(mix: str, loss: str, dtype: torch.dtype, shared_start: bool, adapts: str, order: int) -> float:
    """Of results and derivatives against autograd through the steps in fp64."""
    ids = MIXES[mix]
    n, tasks = len(ids), torch.tensor(ids, dtype=torch.int64)
    plan = plan_tasks(tasks, N_TASKS, lists=True, block_rows=16)
    results = []
    for real in (dtype, torch.float64):
        generator = torch.Generator().manual_seed(7)

        def draw(*shape: int, real=real, generator=generator) -> torch.Tensor:
            return (torch.randn(shape, generator=generator, dtype=torch.float64) / 2).to(dtype).to(real)

        of = losses(n, draw)[loss]
        x, base = draw(n, D_IN), draw(n, D_OUT)
        starts = 1 if shared_start else N_TASKS
        a, b = draw(starts, R, D_IN).requires_grad_(), draw(starts, D_OUT, R).requires_grad_()
        rates = (draw(3).abs() / 2).requires_grad_()
        options = {"base": base, "scale": 1.3, "adapts": adapts, "order": order}
        if not results:
            pair = inner_adapt(x, a, b, plan, of, rates, **options)
        else:
            pair = inner_adapt_reference(x, a, b, tasks, N_TASKS, of, rates, **options)
        total = sum((value.sin() * value).sum() for value in pair)
        gradients = torch.autograd.grad(total, (a, b, rates), allow_unused=True, materialize_grads=True)
        results.append([*pair, *gradients])
    return shared.worst(*results)


def mutants() -> dict[str, float]:
    """The worst error of every mutant; infinite where one fails."""
    shared.MODULES = {"inner_kernels": inner_kernels}
    shared.builder = lambda name: "kernels"
    right, results = inner_kernels.kernels, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, old, new, label in MUTANTS:
            shared.mutant(name, old, new, folder)
            try:
                error = error_of("unsorted", "logistic", torch.float32, False, "both", 2)
            except Exception:
                error = float("inf")
            results[label] = float("inf") if error != error else error
            inner_kernels.kernels = right
    return results


def main() -> None:
    if sys.argv[1:] == ["mutants"]:
        print(json.dumps(mutants()))
        return
    results = {}
    for dtype in (torch.float32, torch.float64):
        for mix in MIXES:
            for loss in ("squared", "logistic", "softmax", "softmax with proposal"):
                for shared_start, adapts, order in ((False, "both", 2), (True, "b", 2), (True, "both", 1)):
                    case = f"{dtype} {mix} {loss} shared={shared_start} {adapts} order={order}"
                    results[case] = error_of(mix, loss, dtype, shared_start, adapts, order)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
