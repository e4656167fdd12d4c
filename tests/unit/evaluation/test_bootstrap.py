"""The bootstrap: known answers, coverage, pairing, reproducibility."""

from __future__ import annotations

import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.bootstrap import bca, paired_bootstrap


def test_mean_and_lift_are_those_of_the_users() -> None:
    values = np.array([[0.2, 0.4, 0.6], [0.1, 0.2, 0.3]])
    resampled = paired_bootstrap(values, np.random.default_rng(0), 200)
    np.testing.assert_allclose(resampled.means, [0.4, 0.2])
    assert resampled.lift(0, 1).value == pytest.approx(1.0)
    # Every user doubles, so every resample doubles: pairing removes all spread.
    assert resampled.lift(0, 1).low == pytest.approx(1.0)
    assert resampled.lift(0, 1).high == pytest.approx(1.0)


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        sample = rng.exponential(1.0, size=(1, 60))
        interval = paired_bootstrap(sample, rng, 400).mean(0)
        inside += interval.low <= 1.0 <= interval.high
    assert 0.88 <= inside / 200 <= 0.99


def test_interval_width_agrees_with_the_normal_theory() -> None:
    sample = np.random.default_rng(2).normal(3.0, 2.0, size=(1, 4000))
    interval = paired_bootstrap(sample, np.random.default_rng(0), 2000).mean(0)
    half = 1.96 * sample.std(ddof=1) / np.sqrt(4000)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)


def test_bca_shifts_towards_the_long_tail() -> None:
    sample = np.random.default_rng(4).exponential(1.0, size=(1, 30))
    resampled = paired_bootstrap(sample, np.random.default_rng(0), 4000)
    percentile_low, percentile_high = np.quantile(resampled.draws[:, 0], [0.025, 0.975])
    interval = resampled.mean(0)
    assert interval.low > percentile_low
    assert interval.high > percentile_high


def test_seeds_add_their_spread() -> None:
    rng = np.random.default_rng(5)
    users = rng.normal(size=400) * 0.01
    alike = np.stack([users, users])[None]
    apart = np.stack([users - 0.5, users + 0.5])[None]
    narrow = paired_bootstrap(alike, np.random.default_rng(0), 500).mean(0)
    wide = paired_bootstrap(apart, np.random.default_rng(0), 500).mean(0)
    assert wide.value == pytest.approx(narrow.value)
    assert wide.high - wide.low > 20 * (narrow.high - narrow.low)


def test_users_without_a_value_are_left_out() -> None:
    values = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]])
    resampled = paired_bootstrap(values, np.random.default_rng(0), 300)
    assert resampled.mean(0).value == 2.0
    assert resampled.mean(0).low >= 1.0
    assert np.isnan(resampled.mean(1).value)
    assert np.isnan(resampled.lift(0, 1).value)


def test_the_same_rng_gives_the_same_bytes() -> None:
    values = np.random.default_rng(6).random((3, 50))
    first = paired_bootstrap(values, np.random.default_rng(9), 100)
    again = paired_bootstrap(values, np.random.default_rng(9), 100)
    assert first.draws.tobytes() == again.draws.tobytes()
    other = paired_bootstrap(values, np.random.default_rng(10), 100)
    assert first.draws.tobytes() != other.draws.tobytes()


def test_constant_values_have_an_interval_of_no_width() -> None:
    interval = paired_bootstrap(np.full((1, 5), 0.25), np.random.default_rng(0), 50).mean(0)
    assert (interval.value, interval.low, interval.high) == (0.25, 0.25, 0.25)
    assert np.isnan(bca(np.nan, np.zeros(3), np.zeros(3)).low)


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.zeros((2, 0)), np.zeros(3)])
def test_bad_shapes_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ArgumentError, match="methods, seeds, users"):
        paired_bootstrap(values, np.random.default_rng(0))
    with pytest.raises(ArgumentError, match="n_draws"):
        paired_bootstrap(np.zeros((1, 1)), np.random.default_rng(0), 0)
