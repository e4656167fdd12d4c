"""The shared solver against float64 NumPy, and implicit ALS on data whose answer is known."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarec_sdk import _core
from metarec_sdk.errors import ArgumentError
from metarec_sdk.heads.ials import Ials
from metarec_sdk.types import Histories, TrainingLog


def weighted(rows: list[list[int]], rng: np.random.Generator) -> Histories:
    plain = Histories.from_lists(rows)
    weights = rng.uniform(0.1, 3.0, len(plain.items)).astype(np.float32)
    return Histories(plain.items, plain.offsets, weights, plain.timestamps)


def reference(factors, precision, alpha, exponent, histories, targets=None, mean=None):
    """The normal equations in float64, one user at a time."""
    factors = factors.astype(np.float64)
    n, m = factors.shape
    out = np.zeros((len(histories), m))
    for row, (start, stop) in enumerate(zip(histories.offsets[:-1], histories.offsets[1:])):
        rows = factors[histories.items[start:stop]]  # [k, m]
        weights = histories.weights[start:stop].astype(np.float64)
        y = np.ones(stop - start) if targets is None else targets[start:stop]
        prior = np.diag(precision.astype(np.float64)) * (weights.sum() + alpha * n) ** exponent
        mu = np.zeros(m) if mean is None else mean[row]
        left = alpha * factors.T @ factors + rows.T @ (weights[:, None] * rows) + prior
        out[row] = np.linalg.solve(left, rows.T @ (weights * y) + prior @ mu)
    return out


@pytest.mark.parametrize("width", [1, 7, 16, 40])
@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_solver_matches_the_normal_equations(width: int, exponent: float) -> None:
    rng = np.random.default_rng(width)
    n = 60
    factors = rng.standard_normal((n, width)).astype(np.float32)
    precision = rng.uniform(0.5, 2.0, width).astype(np.float32)
    # From the dual through the primal, with repeats, and more rows than one block of the pool.
    rows = [list(rng.integers(0, n, k)) for k in [0, 1, 2, 5, 16, 17, 28, 29, 40, 300] * 3]
    histories = weighted(rows, rng)
    targets = rng.uniform(-1, 2, len(histories.items)).astype(np.float32)
    mean = rng.standard_normal((len(rows), width)).astype(np.float32)
    solver = _core.FactorSolver(factors, precision, unobserved_weight=0.3, exponent=exponent)
    arguments = histories.offsets, histories.items, histories.weights
    for given_targets, given_mean in [(None, None), (targets, None), (None, mean), (targets, mean)]:
        got = solver.solve(*arguments, given_targets, given_mean)
        want = reference(factors, precision, 0.3, exponent, histories, given_targets, given_mean)
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * max(1.0, np.abs(want).max()))
    assert (solver.n_items, solver.width) == (n, width)


def test_no_history_and_no_mean_give_exactly_zero() -> None:
    factors = np.random.default_rng(0).standard_normal((9, 5)).astype(np.float32)
    for alpha, exponent in [(0.1, 1.0), (0.0, 1.0), (0.0, 0.0)]:
        solver = _core.FactorSolver(
            factors, np.ones(5, np.float32), unobserved_weight=alpha, exponent=exponent
        )
        empty = Histories.from_lists([[], []])
        assert (solver.solve(empty.offsets, empty.items, empty.weights) == 0).all()


def test_events_of_weight_zero_say_nothing() -> None:
    factors = np.random.default_rng(0).standard_normal((9, 5)).astype(np.float32)
    solver = _core.FactorSolver(factors, np.ones(5, np.float32), unobserved_weight=0.1)
    with_zero = Histories.from_lists([[1, 2, 3]])
    with_zero.weights[1] = 0.0
    without = Histories.from_lists([[1, 3]])
    np.testing.assert_allclose(
        solver.solve(with_zero.offsets, with_zero.items, with_zero.weights),
        solver.solve(without.offsets, without.items, without.weights),
        atol=1e-6,
    )


@given(st.lists(st.integers(0, 19), min_size=1, max_size=40), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_does_not_matter_and_a_repeat_is_a_double_weight(items: list[int], random) -> None:
    rng = np.random.default_rng(5)
    factors = rng.standard_normal((20, 24)).astype(np.float32)
    solver = _core.FactorSolver(factors, np.ones(24, np.float32), unobserved_weight=0.2, exponent=1.0)
    histories = Histories.from_lists([items])
    got = solver.solve(histories.offsets, histories.items, histories.weights)
    shuffled = items.copy()
    random.shuffle(shuffled)
    other = Histories.from_lists([shuffled])
    np.testing.assert_allclose(solver.solve(other.offsets, other.items, other.weights), got, atol=2e-5)
    unique, counts = np.unique(items, return_counts=True)
    merged = Histories.from_lists([unique.tolist()])
    np.testing.assert_allclose(
        solver.solve(merged.offsets, merged.items, counts.astype(np.float32)), got, atol=2e-5
    )


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    rng = np.random.default_rng(1)
    factors = rng.standard_normal((50, 33)).astype(np.float32)
    solver = _core.FactorSolver(factors, np.ones(33, np.float32), unobserved_weight=0.2)
    histories = weighted([list(rng.integers(0, 50, k)) for k in range(45)], rng)
    together = solver.solve(histories.offsets, histories.items, histories.weights)
    for row in (0, 7, 22, 23, 44):
        alone = histories.take([row])
        assert (solver.solve(alone.offsets, alone.items, alone.weights)[0] == together[row]).all()


def improvable(rng: np.random.Generator) -> tuple[_core.FactorSolver, Histories]:
    factors = rng.standard_normal((80, 20)).astype(np.float32)
    solver = _core.FactorSolver(factors, np.full(20, 0.5, np.float32), unobserved_weight=0.2, exponent=1.0)
    return solver, weighted([list(rng.integers(0, 80, k)) for k in [0, 1, 9, 16, 17, 30, 31, 200] * 4], rng)


def test_conjugate_gradient_converges_to_the_exact_solution() -> None:
    rng = np.random.default_rng(4)
    solver, histories = improvable(rng)
    arguments = histories.offsets, histories.items, histories.weights
    exact = solver.solve(*arguments)
    start = rng.standard_normal(exact.shape).astype(np.float32)
    long = histories.lengths > 16
    errors = [
        np.abs(solver.improve(*arguments, start, steps) - exact)[long].max() for steps in (0, 1, 3, 8, 30)
    ]
    assert errors[0] > 1
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 2e-5
    assert np.abs(solver.improve(*arguments, exact, 3) - exact).max() < 2e-5


def test_short_rows_are_solved_exactly_wherever_they_start() -> None:
    rng = np.random.default_rng(4)
    solver, histories = improvable(rng)
    short = histories.take(histories.lengths <= 16)
    arguments = short.offsets, short.items, short.weights
    start = np.full((len(short), 20), 7.0, np.float32)
    assert (solver.improve(*arguments, start, 3) == solver.solve(*arguments)).all()


def test_improving_names_a_bad_start() -> None:
    solver, histories = improvable(np.random.default_rng(4))
    arguments = histories.offsets, histories.items, histories.weights
    with pytest.raises(ValueError, match="start has 20 values, expected 32 rows of 20"):
        solver.improve(*arguments, np.zeros((1, 20), np.float32), 3)
    with pytest.raises(ValueError, match="start holds NaN at row 0"):
        solver.improve(*arguments, np.full((32, 20), np.nan, np.float32), 3)


def test_training_by_conjugate_gradient_is_as_good_as_exact_training() -> None:
    rng = np.random.default_rng(3)
    rows = [list(rng.permutation(np.arange(user % 4, 120, 4))[:25]) for user in range(150)]
    log = TrainingLog(Histories.from_lists(rows), 120)
    scores = {}
    for steps in (0, 3):
        settings = Ials(factors=12, iterations=8, conjugate_gradient_steps=steps)
        users, items = settings.train(log, np.random.default_rng(0))
        scores[steps] = users @ items.T
    np.testing.assert_allclose(scores[3], scores[0], atol=0.05)


def checkerboard(n_users: int = 12, n_items: int = 12) -> TrainingLog:
    """Even users take even items, odd users odd ones; user u has not seen item u."""
    rows = [[i for i in range(n_items) if i % 2 == u % 2 and i != u] for u in range(n_users)]
    return TrainingLog(Histories.from_lists(rows), n_items)


def test_ials_recommends_the_missing_square_of_a_checkerboard() -> None:
    log = checkerboard()
    users, items = Ials(factors=4, iterations=20).train(log, np.random.default_rng(0))
    scores = users @ items.T
    for user, seen in enumerate(log.histories):
        scores[user, seen] = -np.inf
        assert scores[user].argmax() == user


def test_ials_lowers_its_objective() -> None:
    rng = np.random.default_rng(3)
    log = TrainingLog(weighted([list(rng.integers(0, 30, k)) for k in rng.integers(1, 15, 40)], rng), 30)
    histories = log.histories

    def objective(settings: Ials) -> float:
        users, items = (table.astype(np.float64) for table in settings.train(log, np.random.default_rng(0)))
        rows = np.repeat(np.arange(len(histories)), histories.lengths)
        fit = (1 - (users[rows] * items[histories.items]).sum(1)) ** 2 @ histories.weights.astype(np.float64)
        of_user = np.bincount(rows, histories.weights, 40) + settings.unobserved_weight * 30
        of_item = np.bincount(histories.items, histories.weights, 30) + settings.unobserved_weight * 40
        spread = of_user @ (users**2).sum(1) + of_item @ (items**2).sum(1)
        return (
            fit
            + settings.unobserved_weight * ((users @ items.T) ** 2).sum()
            + settings.regularization * spread
        )

    values = [
        objective(Ials(factors=8, iterations=rounds, regularization=0.01, unobserved_weight=0.1))
        for rounds in (1, 2, 4, 8)
    ]
    assert all(later < earlier for earlier, later in pairwise(values)), values


def test_defaults_follow_the_catalogue() -> None:
    for n_items, alpha in [(1, 30.0), (100, 0.3), (20_000, 0.1)]:
        fixed = Ials(factors=3).for_catalogue(n_items)
        assert fixed.unobserved_weight == pytest.approx(alpha)
        pull = fixed.regularization * fixed.unobserved_weight * n_items
        assert pull == pytest.approx(6 * n_items / (n_items + 500))
    given = Ials(regularization=0.5, unobserved_weight=0.0).for_catalogue(50)
    assert (given.regularization, given.unobserved_weight) == (0.5, 0.0)
    assert given.for_catalogue(9999) == given


def test_fold_in_repeats_the_user_step() -> None:
    log = checkerboard()
    settings = Ials(factors=4, iterations=3, conjugate_gradient_steps=0)
    users, items = settings.train(log, np.random.default_rng(0))
    again, _ = Ials(factors=4, iterations=1).train(log, np.random.default_rng(0), item_factors_init=items)
    histories = log.histories
    folded = settings.solver(items).solve(histories.offsets, histories.items, histories.weights)
    assert (folded == again).all()
    assert np.abs(folded - users).max() < 0.5


def test_continuing_keeps_the_basis() -> None:
    rng = np.random.default_rng(3)
    log = TrainingLog(Histories.from_lists([list(rng.integers(0, 30, 9)) for _ in range(60)]), 30)
    _, items = Ials(factors=6, iterations=30).train(log, rng)
    _, continued = Ials(factors=6, iterations=2).train(log, rng, item_factors_init=items)
    assert np.abs(continued - items).max() < 0.2 * np.abs(items).max()


def test_refuses_what_it_can_not_train_on() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ArgumentError, match="no events"):
        Ials().train(TrainingLog(Histories.from_lists([[], []]), 3), rng)
    with pytest.raises(ArgumentError, match=r"\(3, 2\), expected \(12, 64\)"):
        Ials().train(checkerboard(), rng, item_factors_init=np.zeros((3, 2), np.float32))
    unknown_item = TrainingLog(Histories.from_lists([[12]]), 12)
    with pytest.raises(ArgumentError, match="item 12 at position"):
        Ials(factors=2).train(unknown_item, rng)
    for wrong in (
        {"factors": 0},
        {"factors": 2.5},
        {"iterations": 0},
        {"regularization": 0.0},
        {"regularization": float("nan")},
        {"unobserved_weight": -1.0},
        {"exponent": -0.1},
        {"conjugate_gradient_steps": -1},
    ):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            Ials(**wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.array([1, -1, 1], np.float32)}, "weights is -1 at position 1"),
        ({"weights": np.array([1, np.nan, 1], np.float32)}, "weights holds NaN at row 1"),
        ({"weights": np.ones(2, np.float32)}, "weights has 2 values"),
        ({"weights": np.ones(3)}, "weights is an array of dtype float64"),
        ({"items": np.array([0, 4, 1], np.int32)}, "item 4 at position 1"),
        ({"offsets": np.array([0, 2], np.int64)}, "offsets from 0 to 2"),
        ({"targets": np.array([0, np.inf, 1], np.float32)}, "targets holds inf"),
        ({"prior_mean": np.zeros((2, 2), np.float32)}, "prior_mean has 4 values"),
        ({"prior_mean": np.full((1, 2), np.nan, np.float32)}, "prior_mean holds NaN"),
    ],
)
def test_solver_names_the_bad_argument(change: dict, message: str) -> None:
    solver = _core.FactorSolver(np.ones((4, 2), np.float32), np.ones(2, np.float32), unobserved_weight=0.1)
    arguments = {
        "offsets": np.array([0, 3], np.int64),
        "items": np.array([0, 3, 1], np.int32),
        "weights": np.ones(3, np.float32),
    }
    with pytest.raises(ValueError, match=message):
        solver.solve(**{**arguments, **change})


def test_solver_refuses_a_bad_table() -> None:
    table, precision = np.ones((4, 2), np.float32), np.ones(2, np.float32)
    for arguments, keywords, message in [
        (
            (np.full((4, 2), np.nan, np.float32), precision),
            {"unobserved_weight": 0.1},
            "factors holds NaN at row 0",
        ),
        ((table, np.ones(3, np.float32)), {"unobserved_weight": 0.1}, r"factors has shape \(4, 2\)"),
        ((table, np.array([1, 0], np.float32)), {"unobserved_weight": 0.1}, "precision is 0 at its least"),
        ((table, precision), {"unobserved_weight": -0.1}, "unobserved_weight is -0.1"),
        ((table, precision), {"unobserved_weight": 0.1, "exponent": float("inf")}, "exponent is inf"),
    ]:
        with pytest.raises(ValueError, match=message):
            _core.FactorSolver(*arguments, **keywords)


def test_transpose_lists_each_items_rows() -> None:
    histories = weighted([[2, 0, 2], [], [0, 3]], np.random.default_rng(0))
    offsets, rows, weights = _core.transpose(histories.offsets, histories.items, histories.weights, 4)
    assert offsets.tolist() == [0, 2, 2, 4, 5]
    assert rows.tolist() == [0, 2, 0, 0, 2]
    assert (weights == histories.weights[[1, 3, 0, 2, 4]]).all()


def test_eigen_and_gram_match_numpy() -> None:
    table = np.random.default_rng(0).standard_normal((900, 21)).astype(np.float32)
    gram = _core.gram(table)
    np.testing.assert_allclose(gram, table.astype(np.float64).T @ table, atol=2e-3)
    assert (gram == gram.T).all()
    values, vectors = _core.symmetric_eigen(gram)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(gram), atol=1e-9)
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.T, gram, atol=1e-9)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(21), atol=1e-12)
    assert (vectors[np.abs(vectors).argmax(0), np.arange(21)] > 0).all()
    with pytest.raises(ValueError, match="square"):
        _core.symmetric_eigen(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="NaN at row 1"):
        _core.symmetric_eigen(np.array([[1.0, 0.0], [np.nan, 1.0]]))


DIGEST = """
import hashlib, numpy as np
from metarec_sdk.heads.natpar import Natpar
from metarec_sdk.types import Histories, TrainingLog
rng = np.random.default_rng(0)
rows = [list(rng.integers(0, 400, k)) for k in rng.integers(0, 90, 300)]
log = TrainingLog(Histories.from_lists(rows), 400)
head = Natpar(factors=24, iterations=3)
head.fit(log, np.random.default_rng(1))
digest = hashlib.sha256(head.query(log.histories).tobytes())
for name, array in sorted(head.state().items()):
    digest.update(name.encode() + array.tobytes())
print(digest.hexdigest())
"""


def test_bytes_do_not_depend_on_threads_or_instruction_set() -> None:
    def digest(**environment: str) -> str:
        command = [sys.executable, "-c", DIGEST]
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return done.stdout

    one = digest(METAREC_NUM_THREADS="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    many = digest(METAREC_NUM_THREADS="5", OMP_NUM_THREADS="4", OPENBLAS_NUM_THREADS="4")
    scalar = digest(METAREC_NUM_THREADS="2", METAREC_ISA="scalar")
    assert one == many == scalar
