"""The shared solver for histories of every length and weight: float64 NumPy, and the same bits everywhere."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarec_sdk import _core
from metarec_sdk.types import Histories

N_ITEMS = 30
weights_of_events = st.one_of(
    st.just(0.0), st.floats(0.1, 3.0), st.floats(-6.0, 6.0).map(lambda exponent: 10.0**exponent)
)
events = st.tuples(st.integers(0, N_ITEMS - 1), weights_of_events, st.floats(-2.0, 2.0))
users = st.lists(st.lists(events, max_size=40), min_size=1, max_size=24)


def arrays(batch: list[list[tuple[int, float, float]]]) -> tuple[np.ndarray, ...]:
    """Offsets, items, weights and targets."""
    flat = [event for user in batch for event in user]
    items, weights, targets = (np.array([event[i] for event in flat]) for i in range(3))
    offsets = np.cumsum([0, *map(len, batch)])
    return (
        offsets.astype(np.int64),
        items.astype(np.int32),
        weights.astype(np.float32),
        targets.astype(np.float32),
    )


@given(users, st.sampled_from([1, 2, 7, 16, 25]), st.sampled_from([0.0, 1.0]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_batch_solves_the_normal_equations_and_each_user_alone_gives_the_same_bits(
    batch: list[list[tuple[int, float, float]]], width: int, exponent: float, with_mean: bool
) -> None:
    rng = np.random.default_rng(width)
    factors = rng.standard_normal((N_ITEMS, width)).astype(np.float32)
    precision = rng.uniform(0.5, 2.0, width).astype(np.float32)
    mean = rng.standard_normal((len(batch), width)).astype(np.float32) if with_mean else None
    alpha = 0.5
    solver = _core.FactorSolver(factors, precision, unobserved_weight=alpha, exponent=exponent)
    got = solver.solve(*arrays(batch), mean)
    exact = factors.astype(np.float64)
    for row, user in enumerate(batch):
        own_mean = None if mean is None else mean[row : row + 1]
        alone = solver.solve(*arrays([user]), own_mean)
        assert alone.tobytes() == got[row : row + 1].tobytes()
        _, items, weights, targets = arrays([user])
        rows, omega = exact[items], weights.astype(np.float64)  # [k, m]
        prior = np.diag(precision * (omega.sum() + alpha * N_ITEMS) ** exponent)
        left = alpha * exact.T @ exact + prior
        strength = np.einsum("km,mn,kn,k->", rows, np.linalg.inv(left), rows, omega)
        right = rows.T @ (omega * targets) + (0.0 if mean is None else prior @ mean[row])
        want = np.linalg.solve(left + rows.T @ (omega[:, None] * rows), right)
        # The strength bounds the condition of the system, which single precision loses in proportion.
        tolerance = 5e-8 * (20.0 + strength) * max(2.0, np.abs(want).max())
        np.testing.assert_allclose(got[row], want, rtol=0, atol=tolerance)


@pytest.mark.parametrize("weight", [1e9, float(np.finfo(np.float32).max)])
def test_the_first_user_that_overflows_is_named(weight: float) -> None:
    factors = np.random.default_rng(0).standard_normal((N_ITEMS, 16)).astype(np.float32)
    solver = _core.FactorSolver(factors, np.ones(16, np.float32), unobserved_weight=0.0)
    batch = [[(user % N_ITEMS, 1.0, 1.0), (3, 1.0, 1.0), (5, 1.0, 1.0)] for user in range(20)]
    assert np.isfinite(solver.solve(*arrays(batch))).all()
    for row in (18, 11):
        batch[row] = [(7, weight, 1.0)] * 6
        with pytest.raises(ValueError, match=f"row {row} is not positive definite"):
            solver.solve(*arrays(batch))


DIGEST = """
import hashlib, numpy as np
from metarec_sdk import _core
rng = np.random.default_rng(0)
digest = hashlib.sha256()
for width, exponent in [(16, 0.0), (64, 0.0), (40, 1.0)]:
    factors = rng.standard_normal((500, width)).astype(np.float32)
    solver = _core.FactorSolver(
        factors, np.ones(width, np.float32), unobserved_weight=0.1, exponent=exponent
    )
    lengths = rng.integers(0, 2 * width, 300)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = rng.integers(0, 500, offsets[-1]).astype(np.int32)
    weights = rng.uniform(0, 3, offsets[-1]).astype(np.float32)
    mean = rng.standard_normal((300, width)).astype(np.float32)
    for prior in (None, mean):
        digest.update(solver.solve(offsets, items, weights, None, prior).tobytes())
    digest.update(solver.improve(offsets, items, weights, mean, 2).tobytes())
print(_core.threads(), digest.hexdigest())
"""


def test_bytes_do_not_depend_on_threads_or_instruction_set() -> None:
    def digest(**environment: str) -> tuple[str, str]:
        command = [sys.executable, "-c", DIGEST]
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        threads, found = done.stdout.split()
        return threads, found

    one = digest(METAREC_NUM_THREADS="1")
    many = digest(METAREC_NUM_THREADS="5")
    scalar = digest(METAREC_NUM_THREADS="2", METAREC_ISA="scalar")
    assert (one[0], many[0], scalar[0]) == ("1", "5", "2")
    assert one[1] == many[1] == scalar[1]


def test_equal_users_in_a_large_batch_are_equal_to_the_bit() -> None:
    rng = np.random.default_rng(2)
    factors = rng.standard_normal((200, 64)).astype(np.float32)
    solver = _core.FactorSolver(factors, np.ones(64, np.float32), unobserved_weight=0.2)
    kinds = [list(rng.integers(0, 200, k)) for k in (1, 2, 5, 16, 17, 33, 57, 58, 90)]
    histories = Histories.from_lists([kinds[kind] for kind in rng.integers(0, len(kinds), 600)])
    got = solver.solve(histories.offsets, histories.items, histories.weights)
    for kind in kinds:
        rows = [row for row, items in enumerate(histories) if list(items) == kind]
        assert len(rows) > 20
        assert len({got[row].tobytes() for row in rows}) == 1
