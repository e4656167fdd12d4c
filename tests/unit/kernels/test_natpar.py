"""The natpar operation on a CPU: derivatives of two orders against autograd's, compilers, edges."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels.natpar import natpar, natpar_operator, natpar_reference

FLOAT64 = torch.float64


def draw(b, s, m, *, n=7, bins=3, seed=0):
    """support, weights (some 0), psi_in, prior_variance, edges, prior_mean; all but edges need gradients."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=FLOAT64)

    support = torch.randint(n, (b, s), generator=generator)
    weights = (randn(b, s).abs() - 0.3).clamp(min=0)
    made = [value.requires_grad_() for value in (weights, randn(n, m), randn(bins, m).exp(), randn(b, m))]
    return support, *made[:3], torch.linspace(0, 3, bins, dtype=FLOAT64)[1:], made[3]


@given(st.integers(0, 5), st.integers(0, 6), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_values_and_gradients_are_those_of_the_reference(b, s, m, bins, seed):
    inputs = draw(b, s, m, bins=bins, seed=seed)
    leaves = [*inputs[1:4], inputs[5]]
    results = []
    for call in (natpar, natpar_reference):
        outputs = call(*inputs)
        along = [torch.linspace(-1, 1, one.numel(), dtype=FLOAT64).view_as(one) for one in outputs]
        for used in ((0,), (1,), (2,), (0, 1, 2)):  # a gradient of some outputs only
            picked = [outputs[i] for i in used], leaves, [along[i] for i in used]
            found = torch.autograd.grad(*picked, retain_graph=True, allow_unused=True)
            results.append([torch.zeros(()) if one is None else one for one in found])
        results.append(list(outputs))
    for found, expected in zip(results[:5], results[5:]):
        for one, other in zip(found, expected):
            torch.testing.assert_close(
                one, other.expand_as(one) if other.ndim == 0 else other, check_dtype=False
            )


def test_derivatives_of_two_orders():
    support, weights, psi, variance, edges, mean = draw(3, 4, 2)

    def call(weights, psi, variance, mean):
        return natpar(support, weights, psi, variance, edges, mean)

    assert gradcheck(call, (weights, psi, variance, mean))
    assert gradgradcheck(call, (weights, psi, variance, mean))


def test_a_kappa_on_an_edge_is_in_the_upper_bin():
    psi, variance = torch.ones(1, 1), torch.tensor([[1.0], [3.0]])
    weights = torch.tensor([[1.0, 0.5], [1.0, 1.0]])
    w, r, kappa = natpar(torch.zeros(2, 2, dtype=torch.int64), weights, psi, variance, torch.tensor([2.0]))
    torch.testing.assert_close(r[:, 0], kappa)
    assert kappa.tolist() == [1.5, 2.0]
    torch.testing.assert_close(w[:, 0], torch.tensor([1.5 / 2.5, 6 / 7]))


def test_an_absent_mean_is_zero():
    inputs = draw(3, 4, 2)
    found = natpar(*inputs[:5])
    torch.testing.assert_close(found, natpar(*inputs[:5], torch.zeros(3, 2, dtype=FLOAT64)))


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of tensors inside opcheck
def test_operator_and_compiled_graph():
    inputs = draw(3, 4, 2)
    torch.library.opcheck(natpar_operator, inputs)
    torch.library.opcheck(natpar_operator, (*inputs[:5], None))

    def whole(*inputs):
        w, r, _ = natpar(*inputs)
        return (w * r).sum()

    leaves = [*inputs[1:4], inputs[5]]
    compiled = torch.compile(whole, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(*inputs), leaves)
    torch.testing.assert_close(found, torch.autograd.grad(whole(*inputs), leaves))


def test_torch_func_takes_gradients_of_gradients():
    support, weights, psi, variance, edges, mean = (value.detach() for value in draw(3, 4, 2))

    def plain(psi):
        kappa = weights.sum(1)
        s = variance[torch.searchsorted(edges, kappa, right=True)]
        return (s * (weights[:, :, None] * psi[support]).sum(1) + mean) / (s * kappa[:, None] + 1)

    def fused(psi):
        return natpar(support, weights, psi, variance, edges, mean)[0]

    found, expected = (
        torch.func.grad(
            lambda p, c=call: torch.func.grad(lambda q: c(q).pow(3).sum())(p).square().sum(),
        )(psi)
        for call in (fused, plain)
    )
    torch.testing.assert_close(found, expected)


def test_bad_arguments():
    support, weights, psi, variance, edges, mean = draw(3, 4, 2)
    for changed, message in (
        ({"support": support[0]}, r"support and weights must be \[b, s\]"),
        ({"weights": weights[:, :2]}, r"support and weights must be \[b, s\]"),
        ({"prior_variance": variance[:2]}, r"prior_variance must be \[bins, 2\]"),
        ({"edges": edges[:1]}, r"prior_variance must be \[bins, 2\]"),
        ({"prior_mean": mean[:2]}, r"prior_mean must be \[3, 2\]"),
        ({"support": support.int()}, "support must be int64"),
        ({"psi_in": psi.float()}, "on one device with support, got .*float32"),
        ({"edges": edges.to("meta")}, "one device with support"),
    ):
        given = {"support": support, "weights": weights, "psi_in": psi, "prior_variance": variance}
        with pytest.raises(ArgumentError, match=message):
            natpar(**{**given, "edges": edges, "prior_mean": mean, **changed})
