"""The Dirichlet-multinomial distribution of counts: likelihood, and concentration by maximum likelihood."""

from __future__ import annotations

import numpy as np
from scipy.special import digamma, gammaln

from metarec_sdk.types import Float64

_LARGEST = 1e6
"""Of α: people who differ no more than chance has it drive α to infinity."""


def log_probability(counts: Float64, alpha: Float64) -> Float64:
    """f64[u], nats: of events in a given order that have counts f64[u, v], under concentration α f64[v].

    The probability mass of the counts themselves is larger by the multinomial coefficient, since it takes all
    orders together.
    """
    events, total = counts.sum(1), alpha.sum()
    parts = gammaln(counts + alpha) - gammaln(alpha)  # [u, v]
    result: Float64 = parts.sum(1) + gammaln(total) - gammaln(events + total)
    return result


def concentration(
    counts: Float64, *, least: float, iterations: int = 1000, tolerance: float = 1e-6
) -> Float64:
    """α f64[v] ≥ least that makes counts f64[u, v] likeliest.

    The fixed point of Minka, "Estimating a Dirichlet distribution" (2000), equation 55, each step of which
    raises the likelihood. It stops where no α changes by more than the tolerance, relatively.
    """
    # Many people have the same count of a value: each distinct one is looked at once.
    seen = [np.unique(column[column > 0], return_counts=True) for column in counts.T]
    value = np.repeat(np.arange(len(seen)), [len(found) for found, _ in seen])
    count = np.concatenate([found for found, _ in seen])
    people = np.concatenate([number for _, number in seen]).astype(np.float64)
    sizes, size_people = np.unique(counts.sum(1), return_counts=True)
    alpha: Float64 = np.maximum(counts.sum(0) / max(counts.sum(), 1.0) * len(seen), least)
    for _ in range(iterations):
        gained = people * (digamma(count + alpha[value]) - digamma(alpha[value]))
        total = alpha.sum()
        expected = (size_people * (digamma(sizes + total) - digamma(total))).sum()
        ratio = np.bincount(value, gained, len(seen)) / max(expected, 1e-300)
        following = np.clip(alpha * ratio, least, _LARGEST)
        moved = np.abs(following / alpha - 1).max()
        alpha = following
        if moved < tolerance:
            break
    return alpha
