import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels.adapter_gradients import (
    adapter_gradients,
    adapter_gradients_of_present,
    adapter_step_,
    gradients_operator,
)
from metarec_sdk.kernels.plan import plan_tasks
from metarec_sdk.kernels.task_matmul import matmul_operator, task_matmul, task_matmul_reference
from metarec_sdk.kernels.task_outer import outer_operator, task_outer, task_outer_reference

MIXES = [[2, 0, -1, 2], [], [-1], [1] * 40 + [0], [*range(20), *range(20), 20]]


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("mix", range(len(MIXES)))
def test_products_are_those_of_the_references(mix, shared):
    tasks = torch.tensor(MIXES[mix], dtype=torch.int64)
    plan = plan_tasks(tasks, 22)
    x, y, matrices = draw(len(tasks), 3), draw(len(tasks), 5, seed=1), draw(1 if shared else 22, 3, 5)
    torch.testing.assert_close(task_matmul(x, matrices, plan), task_matmul_reference(x, matrices, tasks))
    expected = task_outer_reference(x, y, tasks, 22)
    expected = expected.sum(0, keepdim=True) if shared else expected
    torch.testing.assert_close(task_outer(x, y, plan, shared=shared), expected)


@pytest.mark.parametrize("shared", [False, True])
def test_derivatives_of_any_order(shared):
    tasks = torch.tensor([1, 0, -1, 1])
    plan = plan_tasks(tasks, 3)
    x, y, matrices = draw(4, 2), draw(4, 3, seed=1), draw(1 if shared else 3, 2, 3)
    for operation, given in (
        (lambda x, m: task_matmul(x, m, plan), (x, matrices)),
        (lambda x, y: task_outer(x, y, plan, shared=shared), (x, y)),
    ):
        assert gradcheck(operation, given)
        assert gradgradcheck(operation, given, fast_mode=True)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of tensors inside opcheck
def test_operators_pass_opcheck():
    tasks = torch.tensor([1, 0, -1, 1])
    plan = plan_tasks(tasks, 2)
    x, y, matrices = draw(4, 3), draw(4, 2), draw(2, 3, 2)
    torch.library.opcheck(matmul_operator, (x, matrices, *plan.tensors()))
    torch.library.opcheck(outer_operator, (x, y, *plan.tensors(), False))
    ds, s = draw(4, 2, seed=2), draw(4, 2, seed=3)
    options = False, False, True, True
    torch.library.opcheck(gradients_operator, (ds, x, y, s, *plan.tensors(), 1.0, 0.5, *options))


def adapter_case(shared=False):
    tasks = torch.tensor([4, 0, -1, 4, 1, 0])
    given = [draw(6, width, seed=width).detach() for width in (2, 3, 5, 2)]  # ds, x, dy, s
    for value in (given[0], given[3]):
        value[tasks < 0] = 0
    ds, x, dy, s = given
    expected = task_outer_reference(ds, x, tasks, 5), 0.5 * task_outer_reference(dy, s, tasks, 5)
    return tasks, given, expected


def test_adapter_gradients_dense_shared_and_compact():
    tasks, given, expected = adapter_case()
    plan = plan_tasks(tasks, 5)
    torch.testing.assert_close(adapter_gradients(*given, plan, scale=0.5), expected)
    both = adapter_gradients(*given, plan, scale=0.5, shared_a=True, shared_b=True)
    torch.testing.assert_close(both, tuple(value.sum(0, keepdim=True) for value in expected))
    present, *compact = adapter_gradients_of_present(*given, plan, scale=0.5)
    assert present.tolist() == [0, 1, 4]
    torch.testing.assert_close(tuple(compact), tuple(value[present] for value in expected))


def test_a_step_in_place_leaves_absent_tasks_alone():
    tasks, given, (for_a, for_b) = adapter_case()
    a, b = draw(5, 2, 3).detach(), draw(5, 5, 2).detach()
    new_a, new_b = a.clone(), b.clone()
    adapter_step_(new_a, new_b, *given, plan_tasks(tasks, 5), scale=0.5, rate=0.1, decay=0.2)
    present = torch.tensor([True, True, False, False, True])[:, None, None]
    for new, old, gradient in ((new_a, a, for_a), (new_b, b, for_b)):
        torch.testing.assert_close(new, torch.where(present, old * 0.98 - 0.1 * gradient, old))
        assert torch.equal(new[2:4], old[2:4])


def test_bad_arguments():
    tasks, given, _ = adapter_case()
    plan = plan_tasks(tasks, 5)
    ds, x, dy, s = given
    with pytest.raises(ArgumentError, match="ds and s must be"):
        adapter_gradients(ds[:, :1], x, dy, s, plan)
    with pytest.raises(ArgumentError, match="one dtype"):
        adapter_gradients(ds.float(), x, dy, s, plan)
    with pytest.raises(ArgumentError, match="a must be"):
        adapter_step_(draw(5, 2, 2).detach(), draw(5, 5, 2).detach(), *given, plan, rate=0.1)
    with pytest.raises(ArgumentError, match="matrices must have one dtype"):
        task_matmul(x, draw(5, 3, 2).float(), plan)
    with pytest.raises(ArgumentError, match="4 matrices"):
        task_matmul(x, draw(4, 3, 2), plan)
    with pytest.raises(ArgumentError, match="N = 6"):
        task_outer(x[:3], dy, plan)
