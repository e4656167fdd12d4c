"""The ridge head: fold-in of iALS, its closed form with a prior, and its state."""

from __future__ import annotations

import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError, ArtefactError, NotFittedError
from metarec_sdk.heads.ials import Ials
from metarec_sdk.heads.ridge import TYPICAL_EVENTS, Ridge
from metarec_sdk.types import Head, Histories, Memberships, TrainingLog


@pytest.fixture
def head(chance: TrainingLog) -> Ridge:
    made = Ridge(factors=6, iterations=4)
    made.fit(chance, np.random.default_rng(0))
    return made


def closed_form(head: Ridge, items: list[int], mean: np.ndarray) -> np.ndarray:
    state = {name: array.astype(np.float64) for name, array in head.state().items()}
    table, rows = state["item_factors"], state["item_factors"][items]
    prior = np.diag(state["precision"])
    left = state["unobserved_weight"] * table.T @ table + rows.T @ rows + prior
    return np.linalg.solve(left, rows.sum(0) + prior @ mean)


def test_follows_the_protocol(head: Ridge) -> None:
    assert isinstance(head, Head)


def test_ranks_the_colour_of_a_checkerboard(checkerboard: TrainingLog) -> None:
    head = Ridge(factors=2, iterations=10)
    head.fit(checkerboard, np.random.default_rng(0))
    scores = head.query(Histories.from_lists([[0], [1], [2, 4], [3, 5]])) @ head.item_matrix().T  # [4, 20]
    for row, parity in enumerate([0, 1, 0, 1]):
        assert scores[row, parity::2].min() > scores[row, 1 - parity :: 2].max()


def test_query_is_the_closed_form_and_empty_is_zero(head: Ridge) -> None:
    rows = [[1, 5, 5], [2], list(range(28)), []]
    got = head.query(Histories.from_lists(rows))
    for row, items in enumerate(rows):
        np.testing.assert_allclose(got[row], closed_form(head, items, np.zeros(6)), atol=1e-5)
    assert (got[3] == 0).all()


def test_starts_as_the_fold_in_of_ials(head: Ridge, chance: TrainingLog) -> None:
    solver = Ials(factors=6).solver(head.item_matrix())
    of_five = chance.histories.take(chance.histories.lengths >= TYPICAL_EVENTS).first(int(TYPICAL_EVENTS))
    folded = solver.solve(of_five.offsets, of_five.items, of_five.weights)
    np.testing.assert_allclose(head.query(of_five), folded, atol=1e-5)


def test_means_mix_by_membership(head: Ridge) -> None:
    means = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    head.restore({"prior_mean": means})
    histories = Histories.from_lists([[4, 2], [4, 2], []])
    weights = np.array([[0.25, 0.75], [1, 0], [1, 0]], np.float32)
    tasks = np.array([[0, 1], [5, -1], [1, -1]], np.int32)
    got = head.query(histories, Memberships(tasks, weights))
    mixed = [0.25 * means[0] + 0.75 * means[1], means[2], means[1]]
    for row, (items, mean) in enumerate(zip([[4, 2], [4, 2], []], mixed)):
        np.testing.assert_allclose(got[row], closed_form(head, items, mean), atol=2e-5)


def test_age_weights_count_from_the_end(head: Ridge) -> None:
    head.restore({"age_weights": np.array([1.0, 0.0], np.float32)})
    got = head.query(Histories.from_lists([[3, 1, 2], [2]]))
    np.testing.assert_allclose(got[0], got[1], atol=1e-6)


def test_state_restores_to_the_byte(head: Ridge, chance: TrainingLog) -> None:
    again = Ridge(factors=6)
    again.restore(head.state())
    assert (again.query(chance.histories) == head.query(chance.histories)).all()


def test_warm_start_continues_with_the_same_basis(checkerboard: TrainingLog) -> None:
    head = Ridge(factors=2, iterations=25, warm_start=True)
    head.fit(checkerboard, np.random.default_rng(0))
    before = head.item_matrix()
    head.fit(TrainingLog(checkerboard.histories, 22), np.random.default_rng(7))
    assert head.item_matrix().shape == (22, 2)
    after = head.item_matrix()[:20]
    lengths = np.linalg.norm(before, axis=0) * np.linalg.norm(after, axis=0)
    assert ((before * after).sum(0) / lengths > 0.99).all()


def test_refuses_bad_states_and_arguments(head: Ridge) -> None:
    with pytest.raises(NotFittedError):
        Ridge().query(Histories.from_lists([[0]]))
    for change, message in [
        ({"precision": np.zeros(6, np.float32)}, "precision holds 0"),
        ({"precision": np.ones(5, np.float32)}, "precision has shape"),
        ({"unobserved_weight": np.array([-1], np.float32)}, "unobserved_weight holds -1"),
        ({"age_weights": np.empty(0, np.float32)}, "age_weights is empty"),
        ({"prior_mean": np.full((1, 6), np.inf, np.float32)}, "prior_mean holds NaN or infinity"),
    ]:
        with pytest.raises(ArtefactError, match=message):
            head.restore(change)
    with pytest.raises(ArgumentError, match="prior_scale"):
        Ridge(prior_scale=0.0)
    with pytest.raises(ArgumentError, match="item 30"):
        head.query(Histories.from_lists([[30]]))
