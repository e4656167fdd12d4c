"""The chunked cross-entropy against torch's own, in float64."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from metarec_sdk.backbones.cross_entropy import catalogue_cross_entropy  # noqa: E402


def _problem(p: int = 37, n: int = 23, d: int = 5, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(p, d, generator=generator, dtype=dtype, requires_grad=True)
    items = torch.randn(n, d, generator=generator, dtype=dtype, requires_grad=True)
    targets = torch.randint(n, (p,), generator=generator)
    weights = torch.rand(p, generator=generator, dtype=dtype)
    return hidden, items, targets, weights


def _assert_close(got, wanted, rtol: float = 1e-7, atol: float = 1e-9) -> None:
    np.testing.assert_allclose(got.detach().numpy(), wanted.detach().numpy(), rtol=rtol, atol=atol)


def _reference(hidden, items, targets, weights):
    return (F.cross_entropy(hidden @ items.T, targets, reduction="none") * weights).sum()


def _gradients(loss, *inputs):
    return torch.autograd.grad(3.0 * loss, inputs)


@pytest.mark.parametrize("chunk", [1, 7, 37, 256])
def test_loss_and_gradients_equal_the_plain_ones_for_any_chunk(chunk: int) -> None:
    hidden, items, targets, weights = _problem()
    loss = catalogue_cross_entropy(hidden, items, targets, weights, chunk=chunk)
    expected = _reference(hidden, items, targets, weights)
    _assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    for got, wanted in zip(_gradients(loss, hidden, items), _gradients(expected, hidden, items)):
        _assert_close(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sampled", [False, True])
def test_gradcheck(sampled: bool) -> None:
    hidden, items, targets, weights = _problem(p=6, n=9, d=3)
    negatives = torch.tensor([0, 2, 5, 7]) if sampled else None

    def loss(h, e):
        return catalogue_cross_entropy(h, e, targets, weights, negatives=negatives, chunk=4)

    assert torch.autograd.gradcheck(loss, (hidden, items))


def test_all_items_as_negatives_is_the_full_softmax() -> None:
    hidden, items, targets, weights = _problem()
    everything = torch.randperm(len(items), generator=torch.Generator().manual_seed(0))
    loss = catalogue_cross_entropy(hidden, items, targets, weights, negatives=everything)
    _assert_close(loss, _reference(hidden, items, targets, weights), rtol=1e-12, atol=1e-12)


def test_sampled_loss_estimates_the_full_one() -> None:
    hidden, items, targets, weights = _problem(p=64, n=200, d=4)
    generator = torch.Generator().manual_seed(1)
    estimates = [
        catalogue_cross_entropy(
            hidden, items, targets, weights, negatives=torch.randperm(200, generator=generator)[:80]
        ).item()
        for _ in range(40)
    ]
    full = _reference(hidden, items, targets, weights).item()
    assert sum(estimates) / 40 == pytest.approx(full, rel=0.02)


def test_weight_zero_has_no_loss_and_no_gradient() -> None:
    hidden, items, targets, weights = _problem()
    weights[::2] = 0
    loss = catalogue_cross_entropy(hidden, items, targets, weights)
    hidden_gradient, item_gradient = _gradients(loss, hidden, items)
    assert not hidden_gradient[::2].any()
    kept = catalogue_cross_entropy(hidden[1::2], items, targets[1::2], weights[1::2])
    _assert_close(loss, kept)
    _assert_close(item_gradient, _gradients(kept, items)[0])


def test_large_logits_stay_finite() -> None:
    hidden, items, targets, weights = _problem(dtype=torch.float32)
    loss = catalogue_cross_entropy(hidden * 1e4, items, targets, weights)
    assert all(torch.isfinite(part).all() for part in (loss, *_gradients(loss, hidden, items)))


def test_low_precision_is_close_and_keeps_the_dtype() -> None:
    hidden, items, targets, weights = _problem(dtype=torch.float32)
    loss = catalogue_cross_entropy(hidden, items, targets, weights, low_precision=torch.bfloat16)
    expected = _reference(hidden, items, targets, weights)
    _assert_close(loss, expected, rtol=0.02, atol=0.02)
    for got, wanted in zip(_gradients(loss, hidden, items), _gradients(expected, hidden, items)):
        assert got.dtype == torch.float32
        _assert_close(got, wanted, rtol=0.05, atol=0.05)
