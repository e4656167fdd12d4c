"""Adam against the formulas of its paper, in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from metarec_sdk.backbones.adam import Adam  # noqa: E402


@pytest.mark.parametrize("limit", [0.5, float("inf")])
def test_steps_follow_the_paper(limit: float) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(7, generator=generator, dtype=torch.float64)
    parts = [start[:5].clone().requires_grad_(), start[5:].clone().requires_grad_()]
    adam = Adam(parts, gradient_limit=limit)

    theta, mean, square = start.numpy().copy(), np.zeros(7), np.zeros(7)
    for t in range(1, 21):
        sum((part**3 + part).sum() for part in parts).backward()
        adam.step(0.01)

        gradient = 3 * theta**2 + 1
        gradient *= min(1.0, limit / np.linalg.norm(gradient))
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.98 * square + 0.02 * gradient**2
        theta = theta - 0.01 * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.98**t)) + 1e-8)
    np.testing.assert_allclose(torch.cat(parts).detach().numpy(), theta, rtol=1e-10)
    assert all(part.grad is None for part in parts)


def test_a_parameter_without_a_gradient_stays() -> None:
    used, unused = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    adam = Adam([used, unused], gradient_limit=1.0)
    used.sum().backward()
    adam.step(0.1)
    assert (used < 1).all()
    assert (unused == 1).all()
