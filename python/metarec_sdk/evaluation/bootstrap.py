"""Paired bootstrap over users (and seeds): intervals for means and for the lift of one method over another.

One matrix of resampling weights serves every method, so that comparisons are paired: a user who is drawn
twice is drawn twice for all of them (Efron & Tibshirani 1993; BCa: Efron 1987).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import Float64, Int64

CHUNK = 1 << 22
"""Most resampling weights held at a time."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval."""

    value: float
    """The estimate on the users as they are."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""


@dataclass(frozen=True, slots=True)
class Resampled:
    """Means of several paired methods and of their resamples."""

    means: Float64
    """f64[r], the mean of each method over its users (and seeds); NaN where no user has a value."""
    draws: Float64
    """f64[t, r], the same of each of t resamples."""
    leave_one_out: Float64
    """f64[u, r], the same without one of the users: the jackknife that BCa needs."""

    def mean(self, method: int, level: float = 0.95) -> Estimate:
        """The mean of a method with its BCa interval."""
        return bca(self.means[method], self.draws[:, method], self.leave_one_out[:, method], level)

    def lift(self, method: int, baseline: int, level: float = 0.95) -> Estimate:
        """Paired lift ``mean(method) / mean(baseline) - 1`` with its BCa interval; NaN over a zero mean."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = [
                part[..., method] / part[..., baseline] - 1.0
                for part in (self.means, self.draws, self.leave_one_out)
            ]
        if not np.isfinite(ratios[0]):
            return Estimate(np.nan, np.nan, np.nan)
        return bca(float(ratios[0]), ratios[1], ratios[2], level)

    def difference(self, method: int, other: int, level: float = 0.95) -> Estimate:
        """Paired difference of two means with its BCa interval."""
        value, draws, jackknife = (
            part[..., method] - part[..., other] for part in (self.means, self.draws, self.leave_one_out)
        )
        return bca(float(value), draws, jackknife, level)


def paired_bootstrap(values: Float64, rng: np.random.Generator, n_draws: int = 1000) -> Resampled:
    """Resample users, and seeds where there are several, the same for every method.

    Args:
        values: f64[r, u] one value per method and user, or f64[r, s, u] with s seeds. NaN marks a user who
            has no value (for all methods alike, or for one); the mean is over the others.
        rng: source of the resamples.
        n_draws: number of resamples t.

    Raises:
        ArgumentError: the shape is another one, there is no user, or ``n_draws < 1``.
    """
    values = np.asarray(values, np.float64)
    if values.ndim == 2:
        values = values[:, None, :]
    if values.ndim != 3 or 0 in values.shape:
        raise ArgumentError(f"values must be f64[methods, seeds, users] and not empty, got {values.shape}")
    if n_draws < 1:
        raise ArgumentError(f"n_draws must be at least 1, got {n_draws}")
    n_methods, n_seeds, n_users = values.shape
    present = np.isfinite(values)
    filled = np.where(present, values, 0.0)
    complete = bool(present.all())

    flat_values = filled.reshape(-1, n_users).T.copy()  # [u, r·s]
    flat_present = present.reshape(-1, n_users).T.astype(np.float64)
    draws = np.empty((n_draws, n_methods))
    step = max(1, CHUNK // n_users)
    for start in range(0, n_draws, step):
        count = min(step, n_draws - start)
        weights = _user_weights(rng, count, n_users)  # [t', u]
        seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1.0 / n_seeds), size=count)  # [t', s]
        sums = (weights @ flat_values).reshape(count, n_methods, n_seeds)
        total = (
            np.full_like(sums, n_users)
            if complete
            else (weights @ flat_present).reshape(count, n_methods, n_seeds)
        )
        draws[start : start + count] = _ratio((sums * seeds[:, None]).sum(2), (total * seeds[:, None]).sum(2))

    by_user, by_user_present = filled.sum(1), present.sum(1)  # [r, u]
    total_value, total_present = by_user.sum(1, keepdims=True), by_user_present.sum(1, keepdims=True)
    means = _ratio(total_value, total_present)[:, 0]
    leave_one_out = _ratio(total_value - by_user, total_present - by_user_present).T  # [u, r]
    return Resampled(means, draws, np.ascontiguousarray(leave_one_out))


def bca(value: float, draws: Float64, leave_one_out: Float64, level: float = 0.95) -> Estimate:
    """Bias-corrected and accelerated bootstrap interval (Efron 1987, eq. 2.3, 6.6).

    Args:
        value: the estimate.
        draws: f64[t], the estimate on resamples.
        leave_one_out: f64[u], the estimate without one user.
        level: coverage, 0.95 for a 95 % interval.
    """
    draws = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(draws) == 0:
        return Estimate(float(value), np.nan, np.nan)
    if draws.min() == draws.max():
        return Estimate(float(value), float(draws[0]), float(draws[0]))
    normal = NormalDist()
    # Ties count half: means of 0/1 values have many.
    below = (np.count_nonzero(draws < value) + 0.5 * np.count_nonzero(draws == value)) / len(draws)
    half = 0.5 / len(draws)
    bias = normal.inv_cdf(float(np.clip(below, half, 1.0 - half)))
    leave_one_out = leave_one_out[np.isfinite(leave_one_out)]
    influence = leave_one_out.mean() - leave_one_out if len(leave_one_out) else np.zeros(1)
    spread = float((influence**2).sum() ** 1.5)
    acceleration = float((influence**3).sum()) / (6.0 * spread) if spread > 0 else 0.0
    ends = []
    for tail in ((1.0 - level) / 2.0, (1.0 + level) / 2.0):
        shifted = bias + normal.inv_cdf(tail)
        ends.append(normal.cdf(bias + shifted / max(1.0 - acceleration * shifted, 1e-6)))
    low, high = np.quantile(draws, ends)
    return Estimate(float(value), float(low), float(high))


def _user_weights(rng: np.random.Generator, count: int, n_users: int) -> Float64:
    """f64[t, u], how often each user is drawn in each resample; rows sum to u."""
    chosen = rng.integers(0, n_users, size=(count, n_users))
    chosen += np.arange(count)[:, None] * n_users
    drawn: Int64 = np.bincount(chosen.ravel(), minlength=count * n_users)
    return drawn.reshape(count, n_users).astype(np.float64)


def _ratio(numerator: Float64, denominator: Float64 | Int64) -> Float64:
    result: Float64 = np.divide(
        numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0
    )
    return result
