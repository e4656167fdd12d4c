"""Meta-learning through the adapter layer on tasks of very different sizes, against loops over tasks."""

import pytest
import torch

from metarec_sdk.kernels.linear_adapter import linear_adapter
from metarec_sdk.kernels.plan import plan_tasks

D, R, STEPS, RATE = 5, 2, 3, 0.1
COUNTS = {
    "one row, none, 100 times the median": [1, 0, 3, 300, 3, 2, 4],
    "one row each": [1, 1, 1],
    "equal": [4] * 20,
    "only one task has rows": [0, 7, 0],
}


def case(counts, seed=0):
    """Start (A, B) and unsorted rows: x, wanted values, task ids; some rows without a task."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    ids = torch.cat([ids, torch.full((2,), -1)])
    ids = ids[torch.randperm(len(ids), generator=generator)]

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    start = [(0.5 * draw(*shape)).requires_grad_() for shape in ((R, D), (D, R))]
    return start, ids, draw(len(ids), D), draw(len(ids), D)


def weights(ids, counts):
    """Of each row, so that a sum over rows is the sum over tasks of the mean over their rows."""
    share = 1 / torch.tensor(counts, dtype=torch.float64).clamp(min=1)
    return torch.where(ids >= 0, share[ids.clamp(min=0)], 0.0)


def batched(start, support, query, counts, *, second_order):
    """(adapted A, B; outer loss) of all tasks at once."""
    n = len(counts)
    a, b = (value.expand(n, -1, -1) for value in start)
    plans = [plan_tasks(ids, n) for ids, _, _ in (support, query)]

    def loss(part, plan, a, b):
        ids, x, wanted = part
        error = (linear_adapter(x, None, a, b, plan, scale=1.5) - wanted).square().mean(1)
        return (weights(ids, counts) * error).sum()

    for _ in range(STEPS):
        leaves = (a, b) if second_order else (a.detach().requires_grad_(), b.detach().requires_grad_())
        found = torch.autograd.grad(loss(support, plans[0], *leaves), leaves, create_graph=second_order)
        a, b = a - RATE * found[0], b - RATE * found[1]
    return a, b, loss(query, plans[1], a, b)


def looped(start, support, query, counts, *, second_order):
    """The same, a task and a step at a time, in plain torch."""
    adapted, total = [], torch.zeros((), dtype=torch.float64)
    for task, count in enumerate(counts):
        a, b = start

        def loss(part, a, b, task=task):
            ids, x, wanted = part
            mine = ids == task
            return ((1.5 * (x[mine] @ a.mT) @ b.mT) - wanted[mine]).square().mean()

        for _ in range(STEPS if count else 0):
            leaves = (a, b) if second_order else (a.detach().requires_grad_(), b.detach().requires_grad_())
            found = torch.autograd.grad(loss(support, *leaves), leaves, create_graph=second_order)
            a, b = a - RATE * found[0], b - RATE * found[1]
        adapted.append((a, b))
        if count:
            total = total + loss(query, a, b)
    return torch.stack([a for a, _ in adapted]), torch.stack([b for _, b in adapted]), total


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("mix", COUNTS)
def test_maml_is_the_double_loop(mix, second_order):
    counts = COUNTS[mix]
    start, *support = case(counts)
    query = case(counts, seed=1)[1:]
    made = [f(start, support, query, counts, second_order=second_order) for f in (batched, looped)]
    torch.testing.assert_close(*made, rtol=1e-10, atol=1e-12)
    found, expected = (torch.autograd.grad(outer, start) for _, _, outer in made)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    for task, count in enumerate(counts):
        assert count or torch.equal(made[0][0][task], start[0])
    other = looped(start, support, query, counts, second_order=not second_order)[2]
    assert (torch.autograd.grad(other, start)[0] - expected[0]).abs().max() > 1e-3


def test_reptile_is_the_loop_over_tasks():
    counts = COUNTS["one row, none, 100 times the median"]
    start, *support = case(counts)
    present = torch.tensor(counts) > 0
    moves = []
    for adapt in (batched, looped):
        a, b, _ = adapt(start, support, support, counts, second_order=False)
        moves.append((a[present].mean(0) - start[0], b[present].mean(0) - start[1]))
    torch.testing.assert_close(*moves, rtol=1e-10, atol=1e-12)
