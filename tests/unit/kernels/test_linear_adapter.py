import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels.adapter_add import adapter_add
from metarec_sdk.kernels.adapter_arguments import check_adapter
from metarec_sdk.kernels.grouping import Part
from metarec_sdk.kernels.linear_adapter import linear_adapter, linear_adapter_reference, linear_operator
from metarec_sdk.kernels.plan import plan_tasks

FLOAT64 = torch.float64


def draw(tasks, n_tasks, d_in, d_out, r, *, shared=False, dtype=FLOAT64, seed=0):
    """x, weight, bias, a, b that need gradients."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (
        (len(tasks), d_in),
        (d_out, d_in),
        (d_out,),
        (1 if shared else n_tasks, r, d_in),
        (n_tasks, d_out, r),
    )
    made = [torch.randn(shape, generator=generator, dtype=FLOAT64) for shape in shapes]
    return [value.to(dtype).requires_grad_() for value in made]


def layer(plan, x, weight, bias, a, b):
    return linear_adapter(x, weight, a, b, plan, bias=bias, scale=1.7)


def reference(tasks, x, weight, bias, a, b):
    return linear_adapter_reference(x, weight, a, b, tasks, bias, 1.7)


def both(tasks, n_tasks, inputs):
    """(value, gradients) of the operation and of its reference."""
    plan = plan_tasks(tasks, n_tasks)
    found = []
    for y in (layer(plan, *inputs), reference(tasks, *inputs)):
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        found.append([y, *torch.autograd.grad(y, inputs, weights)])
    return found


MIXES = {
    "unsorted": [2, 0, -1, 2, 1, 0, 2, -1, 4],
    "one row": [3],
    "nobody": [],
    "no task at all": [-1, -1],
    "equally many rows": [0, 0, 1, 1, 2, 2, 3, 3, 4, 4],
    "a giant task": [1] * 70 + [0, 2],
    "many small tasks": [*range(30), *range(30), *range(30, 45), 60, 60, 60],
}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("mix", MIXES)
def test_values_and_gradients_are_those_of_the_reference(mix, shared):
    tasks = torch.tensor(MIXES[mix], dtype=torch.int64)
    inputs = draw(tasks, 64, 6, 5, 3, shared=shared)
    for found, expected in zip(*both(tasks, 64, inputs)):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@given(
    st.lists(st.integers(-1, 8), max_size=60),
    st.sampled_from([1, 3, 4, 8, 16, 64]),
    st.integers(1, 20),
    st.integers(1, 20),
    st.booleans(),
    st.sampled_from([torch.float32, FLOAT64]),
)
@settings(deadline=None, max_examples=40)
def test_any_shape(ids, r, d_in, d_out, shared, dtype):
    tasks = torch.tensor(ids, dtype=torch.int64)
    inputs = draw(tasks, 9, d_in, d_out, r, shared=shared, dtype=dtype)
    tolerance = 1e-10 if dtype == FLOAT64 else 1e-4
    for found, expected in zip(*both(tasks, 9, inputs)):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * 10)


@pytest.mark.parametrize("shared", [False, True])
def test_first_and_second_derivatives(shared):
    tasks = torch.tensor([1, 0, -1, 1])
    inputs = draw(tasks, 3, 2, 3, 2, shared=shared)
    plan = plan_tasks(tasks, 3)
    assert gradcheck(lambda *given: layer(plan, *given), inputs)
    assert gradgradcheck(lambda *given: layer(plan, *given), inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_types_round_once_or_twice(dtype):
    tasks = torch.randint(-1, 5, (100,), generator=torch.Generator().manual_seed(0))
    small = draw(tasks, 5, 24, 16, 8, dtype=dtype)
    exact = [value.detach().double().requires_grad_() for value in small]
    found, _ = both(tasks, 5, small)
    _, expected = both(tasks, 5, exact)
    for one, other in zip(found, expected):
        assert one.dtype == dtype
        assert (one - other).abs().max() < 0.02 * other.abs().max()


def test_autocast_is_that_of_a_linear_layer():
    tasks = torch.tensor([0, 1, 1])
    inputs = draw(tasks, 2, 8, 8, 4, dtype=torch.float32)
    plan = plan_tasks(tasks, 2)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(plan, *inputs)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert all(value.grad.dtype == torch.float32 for value in inputs)
    torch.testing.assert_close(y.float(), layer(plan, *inputs), rtol=0.05, atol=0.3)


def test_transposed_and_strided_inputs():
    tasks = torch.tensor([1, 0, 1, 1])
    x, weight, bias, a, b = draw(tasks, 2, 6, 6, 4)
    strided = (x.detach().repeat(1, 2)[:, ::2], weight.mT, bias, a.mT.contiguous().mT, b.expand(2, -1, -1))
    plan = plan_tasks(tasks, 2)
    torch.testing.assert_close(layer(plan, *strided), reference(tasks, *strided))


def test_adapter_add_is_the_layer_on_a_given_base():
    tasks = torch.tensor([1, -1, 0, 1])
    x, weight, bias, a, b = draw(tasks, 2, 6, 5, 4)
    plan = plan_tasks(tasks, 2)
    base = torch.nn.functional.linear(x, weight, bias)
    torch.testing.assert_close(
        adapter_add(base, x, a, b, plan, scale=1.7), reference(tasks, x, weight, bias, a, b)
    )
    with pytest.raises(ArgumentError, match="base must be"):
        adapter_add(base[:, :2], x, a, b, plan)


def test_torch_func_takes_gradients_and_hessian_products():
    tasks = torch.tensor([1, 0, 1])
    inputs = [value.detach() for value in draw(tasks, 2, 3, 2, 2)]
    plan = plan_tasks(tasks, 2)

    def loss(b, operation, first):
        return operation(first, *inputs[:4], b).pow(3).sum()

    direction = torch.ones_like(inputs[4])
    for operation, first in ((layer, plan), (reference, tasks)):
        gradient = torch.func.grad(loss)(inputs[4], operation, first)
        bent = torch.func.vjp(lambda b, o=operation, f=first: torch.func.grad(loss)(b, o, f), inputs[4])
        product = bent[1](direction)[0]
        if operation is layer:
            kept = gradient, product
    torch.testing.assert_close(kept, (gradient, product))


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of tensors inside opcheck
def test_the_operator_passes_opcheck():
    tasks = torch.tensor([1, 0, -1, 1])
    x, weight, bias, a, b = draw(tasks, 2, 3, 4, 2)
    plan = plan_tasks(tasks, 2)
    torch.library.opcheck(linear_operator, (x, None, weight, bias, a, b, *plan.tensors(), 1.0, 1.7))
    extra = torch.randn(4, 2, dtype=FLOAT64, requires_grad=True)
    torch.library.opcheck(linear_operator, (x, extra, None, None, a[:1], b, *plan.tensors(), 0.5, 1.0))


def test_one_graph_without_a_break_plan_included():
    def whole(tasks, x, weight, bias, a, b):
        return layer(plan_tasks(tasks, 3), x, weight, bias, a, b).square().sum()

    compiled = torch.compile(whole, fullgraph=True, backend="aot_eager")
    for seed, ids in enumerate(([2, 0, -1, 2], [0, 0, 1, -1])):
        tasks = torch.tensor(ids)
        inputs = draw(tasks, 3, 4, 5, 2, seed=seed)
        found = torch.autograd.grad(compiled(tasks, *inputs), inputs)
        expected = torch.autograd.grad(whole(tasks, *inputs), inputs)
        torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_one_graph_through_inductor():
    tasks = torch.tensor([2, 0, -1, 2])
    inputs = draw(tasks, 3, 4, 5, 2)

    def whole(*inputs):
        return layer(plan_tasks(tasks, 3), *inputs).square().sum()

    found = torch.autograd.grad(torch.compile(whole, fullgraph=True)(*inputs), inputs)
    torch.testing.assert_close(found, torch.autograd.grad(whole(*inputs), inputs))


def test_bad_arguments():
    tasks = torch.tensor([1, 0])
    x, weight, bias, a, b = draw(tasks, 2, 3, 4, 2)
    plan = plan_tasks(tasks, 2)
    for changed, message in (
        ({"x": x[0]}, r"x must be \[N, d_in\]"),
        ({"x": x[:, :2]}, "widths don't fit"),
        ({"x": x[:1]}, "2 rows in 2 tasks, got 1 rows"),
        ({"b": b.repeat(2, 1, 1)}, "got 2 rows, 2 A and 4 B"),
        ({"weight": weight[:3]}, "weight must be"),
        ({"bias": bias[:3]}, "bias must be"),
        ({"a": a.float()}, "one floating dtype"),
    ):
        given = {"x": x, "weight": weight, "a": a, "b": b, "plan": plan, "bias": bias} | changed
        with pytest.raises(ArgumentError, match=message):
            linear_adapter(**given)


def test_ids_on_another_device_than_the_rows_are_refused():
    plan = plan_tasks(torch.tensor([1, 0]), 2)
    x, a, b = (torch.empty(shape, device="meta") for shape in ((2, 3), (2, 2, 3), (2, 4, 2)))
    with pytest.raises(ArgumentError, match="plan lies on cpu, x on meta; move the task ids to meta"):
        check_adapter(x, None, a, b, None, plan)


def test_a_wrong_product_would_be_noticed(monkeypatch):
    """Mutations of the grouped path: rows shifted by one, and matrices of the next task."""
    right = Part.multiply
    tasks = torch.tensor(MIXES["unsorted"])
    inputs = draw(tasks, 5, 6, 5, 3)
    for wrong in (
        lambda self, x, m: right(self, x.roll(1, 0), m),
        lambda self, x, m: right(self, x, m.roll(1, 0)),
    ):
        monkeypatch.setattr(Part, "multiply", wrong)
        found, expected = both(tasks, 5, inputs)
        assert (found[0] - expected[0]).abs().max() > 0.1
