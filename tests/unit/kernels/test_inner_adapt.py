import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from metarec_sdk.kernels.inner_adapt import adapt_operator, inner_adapt, inner_adapt_reference
from metarec_sdk.kernels.inner_losses import LogisticLoss, SampledSoftmaxLoss, SquaredLoss
from metarec_sdk.kernels.plan import plan_tasks

MIXES = {
    "unsorted, without a task, and a task without rows": [2, 0, -1, 2, 1, 0, 2, -1, 4],
    "one row": [3],
    "nobody": [],
    "100 times the median": [1] * 100 + [0, 2, 3],
}
N_TASKS, D_IN, D_OUT, R = 5, 4, 3, 2


def draw(n, shared):
    """x, base, a, b and rates that need gradients."""
    generator = torch.Generator().manual_seed(0)
    n_starts = 1 if shared else N_TASKS
    shapes = (n, D_IN), (n, D_OUT), (n_starts, R, D_IN), (n_starts, D_OUT, R)
    made = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [value.requires_grad_() for value in (*made, torch.tensor([0.1, 0.2, 0.05], dtype=torch.float64))]


def make_loss(name, n):
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(n, D_OUT, generator=generator, dtype=torch.float64)
    if name == "squared":
        return SquaredLoss(rows)
    if name == "logistic":
        return LogisticLoss(rows, torch.rand(n, generator=generator, dtype=torch.float64))
    items = torch.randn(7, D_OUT, generator=generator, dtype=torch.float64)
    candidates = torch.randint(7, (n, 4), generator=generator)
    return SampledSoftmaxLoss(candidates, items, torch.randn(n, 4, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("adapts", ["b", "both"])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
def test_results_and_meta_gradients_are_those_of_autograd_through_the_steps(loss, order, adapts, mix):
    tasks = torch.tensor(MIXES[mix], dtype=torch.int64)
    for shared in (False, True):
        x, base, a, b, rates = inputs = draw(len(tasks), shared)
        options = {"base": base, "scale": 0.7, "adapts": adapts, "order": order}
        plan, of = plan_tasks(tasks, N_TASKS), make_loss(loss, len(tasks))
        found = inner_adapt(x, a, b, plan, of, rates, **options)
        expected = inner_adapt_reference(x, a, b, tasks, N_TASKS, of, rates, **options)
        for one, other in zip(found, expected):
            torch.testing.assert_close(one, other)
        wanted = inputs if order == 2 else [a, b, rates]
        gradients = [
            torch.autograd.grad(
                sum((value.sin() * value).sum() for value in pair),
                wanted,
                allow_unused=True,
                materialize_grads=True,
            )
            for pair in (found, expected)
        ]
        for one, other in zip(*gradients):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("adapts", ["b", "both"])
@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
def test_second_order_derivatives_are_those_of_finite_differences(loss, adapts):
    tasks = torch.tensor(MIXES["unsorted, without a task, and a task without rows"])
    plan, of = plan_tasks(tasks, N_TASKS), make_loss(loss, len(tasks))

    def adapt(x, base, a, b, rates):
        return inner_adapt(x, a, b, plan, of, rates, base=base, adapts=adapts)

    assert gradcheck(adapt, draw(len(tasks), False))


def test_a_task_without_rows_keeps_its_start_exactly():
    tasks = torch.tensor([2, 0, -1, 2])
    x, base, a, b, rates = draw(4, False)
    found_a, found_b = inner_adapt(
        x, a, b, plan_tasks(tasks, N_TASKS), make_loss("squared", 4), rates, base=base
    )
    for found, start in ((found_a, a), (found_b, b)):
        assert torch.equal(found[[1, 3, 4]], start[[1, 3, 4]])
        assert not torch.equal(found[[0, 2]], start[[0, 2]])


def plain_double_loop(tasks, of, x, base, a, b, rates, order):
    """Every task by itself, its steps by autograd: MAML's inner loop as it is written in textbooks."""
    results = []
    for task in range(N_TASKS):
        rows = (tasks == task).nonzero()[:, 0]
        fast_a, fast_b = a[min(task, len(a) - 1)], b[min(task, len(b) - 1)]
        for rate in rates if len(rows) else ():
            o = base[rows] + x[rows] @ fast_a.T @ fast_b.T
            loss = 0.5 * (o - of.target[rows]).square().sum(1).mean()
            steps = torch.autograd.grad(loss, (fast_a, fast_b), create_graph=order == 2)
            fast_a, fast_b = (value - rate * step for value, step in zip((fast_a, fast_b), steps))
        results.append((fast_a, fast_b))
    return torch.stack([one for one, _ in results]), torch.stack([other for _, other in results])


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("mix", ["unsorted, without a task, and a task without rows", "100 times the median"])
def test_a_plain_loop_over_tasks_gives_the_same(order, mix):
    tasks = torch.tensor(MIXES[mix])
    x, base, a, b, rates = draw(len(tasks), True)
    of = make_loss("squared", len(tasks))
    found = inner_adapt(x, a, b, plan_tasks(tasks, N_TASKS), of, rates, base=base, order=order)
    expected = plain_double_loop(tasks, of, x, base, a, b, rates, order)
    gradients = []
    for pair in (found, expected):
        total = (pair[0].sin() * pair[0]).sum() + (pair[1].cos() * pair[1]).sum()
        gradients.append(torch.autograd.grad(total, (a, b)))
    for one, other in zip((*found, *gradients[0]), (*expected, *gradients[1])):
        torch.testing.assert_close(one, other)


def test_one_graph_of_a_compiler_and_torch_func():
    tasks = torch.tensor(MIXES["unsorted, without a task, and a task without rows"])
    plan, of = plan_tasks(tasks, N_TASKS), make_loss("softmax", len(tasks))
    x, base, a, b, rates = draw(len(tasks), True)

    def total(b):
        adapted_a, adapted_b = inner_adapt(x, a, b, plan, of, rates, base=base)
        return adapted_a.square().sum() + adapted_b.square().sum()

    (expected,) = torch.autograd.grad(total(b), b)
    (compiled,) = torch.autograd.grad(torch.compile(total, fullgraph=True, backend="aot_eager")(b), b)
    torch.testing.assert_close(compiled, expected)
    torch.testing.assert_close(torch.func.grad(total)(b.detach()), expected)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of tensors inside opcheck
def test_the_operator_passes_opcheck():
    tasks = torch.tensor([2, 0, -1, 2])
    plan, of = plan_tasks(tasks, N_TASKS), make_loss("logistic", 4)
    x, base, a, b, rates = draw(4, False)
    fixed = x.detach(), base.detach(), a, b, rates, *of.tensors(), *plan.tensors(), of.name, 0.7
    for adapts_a, order in ((True, 2), (False, 2), (True, 1)):
        torch.library.opcheck(adapt_operator, (*fixed, adapts_a, order))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-1, 3), max_size=12), *[st.integers(1, 5)] * 3, st.integers(0, 4), st.booleans())
def test_any_size_agrees_with_the_reference(ids, d_in, d_out, r, n_steps, with_base):
    generator = torch.Generator().manual_seed(3)
    n, tasks = len(ids), torch.tensor(ids, dtype=torch.int64)
    shapes = (n, d_in), (4, r, d_in), (4, d_out, r), (n, d_out), (n, d_out)
    x, a, b, base, target = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    rates = torch.full((n_steps,), 0.1, dtype=torch.float64)
    of, options = SquaredLoss(target), {"base": base if with_base else None}
    found = inner_adapt(x, a, b, plan_tasks(tasks, 4), of, rates, **options)
    expected = inner_adapt_reference(x, a, b, tasks, 4, of, rates, **options)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other)


def test_rows_without_a_task_are_ignored_whatever_they_hold():
    tasks = torch.tensor([0, -1, 1])
    x, base, a, b, rates = (value.detach() for value in draw(3, True))
    plan, of = plan_tasks(tasks, N_TASKS), make_loss("squared", 3)
    expected = inner_adapt(x, a, b, plan, of, rates, base=base)
    x[1], base[1] = 1e6, -1e6
    for one, other in zip(inner_adapt(x, a, b, plan, of, rates, base=base), expected):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_smaller_types_stay_near(dtype):
    tasks = torch.tensor(MIXES["100 times the median"])
    x, base, a, b, rates = (value.detach() for value in draw(len(tasks), True))
    rates = rates / 20  # steps that converge: others blow every rounding up
    of = make_loss("squared", len(tasks))
    expected = inner_adapt(x, a, b, plan_tasks(tasks, N_TASKS), of, rates, base=base)
    found = inner_adapt(
        x.to(dtype), a.float(), b.float(), plan_tasks(tasks, N_TASKS), SquaredLoss(of.target.to(dtype)),
        rates.float(), base=base.to(dtype),
    )  # fmt: skip
    for one, other in zip(found, expected):
        assert float((one - other).norm() / other.norm()) < (1e-5 if dtype == torch.float32 else 2e-2)
