"""The sums and posterior means of natpar in the core, against float64 NumPy and to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarec_sdk import _core
from metarec_sdk.types import Histories

PSI = np.random.default_rng(0).standard_normal((30, 11)).astype(np.float32)


def state(rows: list[list[int]], weights: list[float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    histories = Histories.from_lists(rows)
    omega = histories.weights if weights is None else np.array(weights, np.float32)
    return _core.NatparTable(PSI).state(histories.offsets, histories.items, omega)


def test_sums_match_numpy() -> None:
    rng = np.random.default_rng(1)
    rows = [list(rng.integers(0, 30, k)) for k in range(150)]
    omega = rng.uniform(0, 4, sum(map(len, rows))).astype(np.float32)
    r, kappa = state(rows, omega)
    start = 0
    for row, items in enumerate(rows):
        weights = omega[start : start + len(items)].astype(np.float64)
        start += len(items)
        np.testing.assert_allclose(r[row], weights @ PSI[items].astype(np.float64), atol=1e-5)
        np.testing.assert_allclose(kappa[row], weights.sum(), atol=1e-5)


events = st.lists(st.tuples(st.integers(0, 29), st.floats(0, 1000, width=32)), max_size=25)


@given(events, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_sums_are_the_same_in_any_order(pairs: list[tuple[int, float]], random) -> None:
    shuffled = pairs.copy()
    random.shuffle(shuffled)
    first = state([[item for item, _ in pairs]], [weight for _, weight in pairs])
    second = state([[item for item, _ in shuffled]], [weight for _, weight in shuffled])
    assert (first[0] == second[0]).all()
    assert first[1] == second[1]


@given(events, events)
@settings(max_examples=60, deadline=None)
def test_sums_add_up_and_can_be_undone_to_the_bit(
    one: list[tuple[int, float]], two: list[tuple[int, float]]
) -> None:
    parts = [state([[item for item, _ in part]], [weight for _, weight in part]) for part in (one, two)]
    both = state([[item for item, _ in one + two]], [weight for _, weight in one + two])
    for first, second, whole in zip(*parts, both):
        assert (first + second == whole).all()
        assert (whole - second == first).all()


@given(
    st.integers(0, 40),
    st.sampled_from([0.0, 1e-6, 0.3, 1.0, 50.0]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_posterior_means_match_the_formula(k: int, variance: float, with_mean: bool) -> None:
    rng = np.random.default_rng(k)
    r, kappa = state([list(rng.integers(0, 30, k))])
    spread = (variance * rng.uniform(0.5, 2, (3, 11))).astype(np.float32)
    edges = np.array([2.0, 9.0], np.float32)
    mean = rng.standard_normal((1, 11)).astype(np.float32)
    got = _core.natpar_query(r, kappa, spread, edges, mean if with_mean else None)
    s = spread[(edges <= kappa[0]).sum()].astype(np.float64)
    mu = mean[0].astype(np.float64) if with_mean else 0.0
    want = np.where(s > 0, (r[0] + mu / np.maximum(s, 1e-30)) / (kappa[0] + 1 / np.maximum(s, 1e-30)), mu)
    np.testing.assert_allclose(got[0], want, rtol=2e-6, atol=1e-6)


def test_nothing_observed_and_no_mean_is_exactly_zero() -> None:
    r, kappa = state([[], []])
    assert (r == 0).all()
    assert (kappa == 0).all()
    query = _core.natpar_query(r, kappa, np.full((1, 11), 0.7, np.float32), np.empty(0, np.float32))
    assert query.dtype == np.float32
    assert (query == 0).all()


def test_no_users_are_fine() -> None:
    r, kappa = state([])
    assert r.shape == (0, 11)
    assert _core.natpar_query(r, kappa, np.ones((1, 11), np.float32), np.empty(0, np.float32)).shape == (
        0,
        11,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": np.zeros((2, 11), np.float32)}, "r is an array of dtype float32"),
        ({"r": np.full((2, 11), np.inf)}, "r holds inf at row 0"),
        ({"r": np.zeros((3, 11))}, "r has 33 values"),
        ({"kappa": np.array([0.0, -1.0])}, "kappa is -1 in row 1"),
        ({"kappa": np.array([np.nan, 0.0])}, "kappa is NaN in row 0"),
        ({"prior_variance": np.full((2, 11), -0.5, np.float32)}, "prior_variance is -0.5"),
        ({"prior_variance": np.zeros((3, 11), np.float32)}, "prior_variance has 33 values"),
        ({"prior_variance": np.zeros((2, 10), np.float32)}, r"prior_variance has shape \(2, 10\)"),
        ({"edges": np.array([np.nan], np.float32)}, "edges holds NaN"),
        (
            {"edges": np.array([2, 1], np.float32), "prior_variance": np.ones((3, 11), np.float32)},
            "ascending",
        ),
        ({"prior_mean": np.zeros((1, 11), np.float32)}, "prior_mean has 11 values"),
    ],
)
def test_query_names_the_bad_argument(change: dict, message: str) -> None:
    arguments = {
        "r": np.zeros((2, 11)),
        "kappa": np.zeros(2),
        "prior_variance": np.ones((2, 11), np.float32),
        "edges": np.array([1.5], np.float32),
        **change,
    }
    with pytest.raises(ValueError, match=message):
        _core.natpar_query(**arguments)


def test_sums_refuse_weights_that_would_not_be_exact() -> None:
    with pytest.raises(ValueError, match="too large for an exact sum in row 1"):
        state([[1], [2, 3]], [1.0, 1.0, 1e9])
    with pytest.raises(ValueError, match="weights is -1 at position 0"):
        state([[1]], [-1.0])
