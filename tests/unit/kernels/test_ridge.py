"""The ridge operation on a CPU: the normal equations, derivatives of two orders, compilers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels.ridge import ridge_operator, ridge_query, ridge_reference, ridge_solve

FLOAT64 = torch.float64


def draw(b, s, m, *, n=7, seed=0, dtype=FLOAT64):
    """support, weights (some 0), factors, base, targets, right; the last five need gradients."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=FLOAT64)

    support = torch.randint(n, (b, s), generator=generator)
    weights = (randn(b, s).abs() - 0.3).clamp(min=0)
    base = randn(m, m)
    given = weights, randn(n, m), base @ base.T + torch.eye(m, dtype=FLOAT64), randn(b, s), randn(b, m)
    return support, *[value.to(dtype).requires_grad_() for value in given]


def normal_equations(support, weights, factors, base, targets, right):
    rows = factors[support]
    system = base + rows.mT @ (weights[:, :, None] * rows)
    return torch.linalg.solve(system, (rows.mT @ (weights * targets)[:, :, None])[:, :, 0] + right)


@given(st.integers(0, 5), st.integers(0, 9), st.integers(1, 9), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_values_and_gradients_are_those_of_the_normal_equations(b, s, m, seed):
    inputs = draw(b, s, m, seed=seed)
    results = []
    for call in (ridge_solve, normal_equations):
        w = call(*inputs)
        along = torch.linspace(-1, 1, w.numel(), dtype=FLOAT64).view_as(w)
        for_base, *others = torch.autograd.grad(w, [inputs[3], *inputs[1:3], *inputs[4:]], along)
        results.append([w, for_base + for_base.mT, *others])  # B is symmetric: only this sum has a meaning
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("s", "m"), [(3, 6), (4, 3)], ids=["dual", "primal"])
def test_derivatives_of_two_orders(s, m):
    support, weights, factors, base, targets, right = draw(3, s, m)

    def call(weights, factors, root, targets, right):
        matrix = root @ root.mT + torch.eye(m, dtype=FLOAT64)  # a finite difference of B stays symmetric
        return ridge_solve(support, weights, factors, matrix, targets, right)

    weights = (weights.detach() + 0.2).requires_grad_()
    given = weights, factors, torch.linalg.cholesky(base).detach().requires_grad_(), targets, right
    assert gradcheck(call, given)
    assert gradgradcheck(call, given)


def test_what_is_absent_counts_as_zero():
    support, weights, factors, base, targets, right = draw(3, 4, 5)
    nothing = ridge_solve(support, weights, factors, base, None)
    assert (nothing == 0).all()
    found = ridge_solve(support, weights, factors, base, None, right)
    zeros = torch.zeros_like(targets)
    torch.testing.assert_close(found, ridge_solve(support, weights, factors, base, zeros, right))
    found = ridge_solve(support, weights, factors, base, targets)
    zeros = torch.zeros_like(right)
    torch.testing.assert_close(found, ridge_solve(support, weights, factors, base, targets, zeros))


def test_padding_changes_nothing_and_has_a_derivative():
    support, weights, factors, base, targets, right = draw(2, 3, 8)
    padded = [torch.cat([value.detach(), value.detach()], 1) for value in (support, weights, targets)]
    padded[1][:, 3:] = 0
    padded[1].requires_grad_()
    w = ridge_solve(padded[0], padded[1], factors, base, padded[2], right)
    torch.testing.assert_close(w, ridge_solve(support, weights, factors, base, targets, right))
    (found,) = torch.autograd.grad(w.sum(), padded[1])
    exact = normal_equations(padded[0], padded[1], factors, base, padded[2], right)
    (expected,) = torch.autograd.grad(exact.sum(), padded[1])
    torch.testing.assert_close(found, expected)


def test_fp32_is_as_good_as_its_condition_allows():
    given = draw(50, 20, 64, n=200)
    small = [given[0], *[value.detach().float() for value in given[1:]]]
    exact = ridge_reference(small[0], *[value.double() for value in small[1:]])
    error = (ridge_solve(*small) - exact).abs().max() / exact.abs().max()
    assert error < 1e-5 * torch.linalg.cond(given[3]) ** 0.5


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of tensors inside opcheck
def test_operator_and_compiled_graph():
    given = draw(3, 4, 6)
    torch.library.opcheck(ridge_operator, given)
    torch.library.opcheck(ridge_operator, (*given[:4], None, given[5]))
    torch.library.opcheck(ridge_operator, (*draw(3, 4, 3)[:5], None))

    def whole(support, *inputs):
        return ridge_solve(support, *inputs).square().sum()

    compiled = torch.compile(whole, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(*given), given[1:])
    torch.testing.assert_close(found, torch.autograd.grad(whole(*given), given[1:]))


def test_torch_func_takes_gradients_of_gradients():
    support, *inputs = [value.detach() for value in draw(3, 2, 4)]

    def loss(right, call):
        return call(support, *inputs[:4], right).pow(3).sum()

    found, expected = (
        torch.func.grad(lambda r, c=call: torch.func.grad(loss)(r, c).square().sum())(inputs[4])
        for call in (ridge_solve, normal_equations)
    )
    torch.testing.assert_close(found, expected)


def test_bad_arguments():
    support, weights, factors, base, targets, right = draw(3, 4, 6)
    for changed, message in (
        ({"support": support[0]}, r"support and weights must be \[b, s\]"),
        ({"weights": weights[:, :2]}, r"support and weights must be \[b, s\]"),
        ({"base": base[:2]}, r"base must be \[6, 6\]"),
        ({"targets": targets[:, :1]}, r"targets must be \[3, 4\]"),
        ({"right": right[:, :1]}, r"right \(or prior_mean\) must be \[3, 6\]"),
        ({"support": support.int()}, "support must be int64"),
        ({"factors": factors.float()}, "on one device with support, got .*"),
        ({"base": base.detach().to("meta")}, "on one device"),
    ):
        given = {"support": support, "weights": weights, "factors": factors, "base": base}
        with pytest.raises(ArgumentError, match=message):
            ridge_solve(**{**given, "targets": targets, "right": right, **changed})
    alpha, penalty = torch.ones((), dtype=FLOAT64), torch.ones(6, dtype=FLOAT64)
    with pytest.raises(ArgumentError, match="prior_mean"):
        ridge_query(support, weights, factors, base, alpha, penalty, right[:2])
    with pytest.raises(torch.linalg.LinAlgError):
        ridge_solve(support, weights, factors, -base, targets, right)
