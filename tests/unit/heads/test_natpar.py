"""The natpar head: its table, its prior, its additive state and what can be learned and restored."""

from __future__ import annotations

import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError, ArtefactError, NotFittedError
from metarec_sdk.heads.natpar import LEAST_VARIANCE, MOST_VARIANCE, Natpar
from metarec_sdk.heads.whitening import smoothed_popularity
from metarec_sdk.types import Head, Histories, Memberships, TrainingLog


@pytest.fixture
def head(chance: TrainingLog) -> Natpar:
    made = Natpar(factors=6, iterations=4)
    made.fit(chance, np.random.default_rng(0))
    return made


def test_follows_the_protocol(head: Natpar) -> None:
    assert isinstance(head, Head)


def test_ranks_the_colour_of_a_checkerboard(checkerboard: TrainingLog) -> None:
    head = Natpar(factors=2, iterations=10)
    head.fit(checkerboard, np.random.default_rng(0))
    scores = head.query(Histories.from_lists([[0], [1], [2, 4], [3, 5]])) @ head.item_matrix().T  # [4, 20]
    for row, parity in enumerate([0, 1, 0, 1]):
        assert scores[row, parity::2].min() > scores[row, 1 - parity :: 2].max()


def test_table_is_white_under_popularity(chance: TrainingLog) -> None:
    head = Natpar(factors=6, iterations=4, popularity_smoothing=2.0, whitening_floor=0.0)
    head.fit(chance, np.random.default_rng(0))
    p = smoothed_popularity(chance, 2.0)
    # Items without an event are neutral in psi, but count in the whitening itself.
    state = head.state()
    psi = (state["item_factors"] - state["whitening_center"]) @ state["whitening_transform"].T
    np.testing.assert_allclose(p @ psi, 0, atol=1e-4)
    np.testing.assert_allclose((p[:, None] * psi).T @ psi, np.eye(6), atol=1e-3)
    assert (head.item_matrix()[28:] == 0).all()
    np.testing.assert_allclose(head.item_matrix()[:28], psi[:28], atol=1e-4)


def test_more_factors_than_the_items_span_stay_finite() -> None:
    log = TrainingLog(Histories.from_lists([[0, 1], [1, 2], [0]]), 3)
    for floor in (0.0, 1e-3):
        head = Natpar(factors=10, iterations=3, whitening_floor=floor)
        head.fit(log, np.random.default_rng(0))
        assert np.isfinite(head.item_matrix()).all()
        assert np.isfinite(head.query(log.histories)).all()


def test_a_catalogue_of_one_item_is_no_crash() -> None:
    log = TrainingLog(Histories.from_lists([[0], [0, 0]]), 1)
    head = Natpar(factors=3, iterations=2)
    head.fit(log, np.random.default_rng(0))
    assert np.isfinite(head.query(log.histories)).all()


def test_prior_variance_is_the_method_of_moments(chance: TrainingLog) -> None:
    head = Natpar(factors=6, iterations=4, prior_scale=0.5, prior_gain=2.0)
    head.fit(chance, np.random.default_rng(0))
    psi = head.state()["psi_in"].astype(np.float64)
    lengths = chance.histories.lengths
    total, excess = 0, np.zeros(6)
    for items in chance.histories:
        if len(items):
            mean = psi[items].mean(0)
            excess += len(items) * (mean**2 - 1 / len(items))
            total += len(items)
    assert total == lengths.sum()
    want = 0.5 * np.clip(excess / total, LEAST_VARIANCE, MOST_VARIANCE) ** 2.0
    got = head.state()["prior_variance"]
    np.testing.assert_allclose(got, np.tile(want, (len(got), 1)), rtol=1e-4)


def test_query_is_the_formula(head: Natpar) -> None:
    state = head.state()
    query = head.query(Histories.from_lists([[1, 5, 5], []]))
    r = state["psi_in"][[1, 5, 5]].astype(np.float64).sum(0)
    np.testing.assert_allclose(query[0], r / (3 + 1 / state["prior_variance"][2]), rtol=1e-4)
    assert (query[1] == 0).all()


def test_means_mix_by_membership_and_new_tasks_get_the_parent(head: Natpar) -> None:
    means = np.arange(18, dtype=np.float32).reshape(3, 6)
    head.restore({"prior_mean": means})
    empty = Histories.from_lists([[]] * 4)
    tasks = np.array([[0, 1], [1, -1], [-1, -1], [7, -1]], np.int32)
    weights = np.array([[0.25, 0.75], [1, 0], [1, 0], [1, 0]], np.float32)
    got = head.query(empty, Memberships(tasks, weights))
    want = np.stack([0.25 * means[0] + 0.75 * means[1], means[1], means[2], means[2]])
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(head.query(empty), np.tile(means[2], (4, 1)))
    with pytest.raises(ArgumentError, match="3 rows for 4"):
        head.query(empty, Memberships.parent(3))
    with pytest.raises(ArgumentError, match="task -2"):
        head.query(empty, Memberships(tasks - 1, weights))


def test_variance_follows_the_bin_of_kappa(head: Natpar) -> None:
    variance = np.full_like(head.state()["prior_variance"], 0.5)
    variance[0] = 0.0
    head.restore({"prior_variance": variance})
    query = head.query(Histories.from_lists([[1], [1, 2]]))
    assert (query[0] == 0).all()
    assert (query[1] != 0).all()


def test_a_tied_state_ties_untied_tables_again(head: Natpar) -> None:
    tied = head.state()
    head.restore({"psi_out": np.ascontiguousarray(head.item_matrix()[::-1])})
    head.restore(tied)
    assert (head.item_matrix() == tied["psi_in"]).all()
    assert "psi_out" not in head.state()


def test_untied_tables_serve_history_and_ranking(head: Natpar) -> None:
    before = head.query(Histories.from_lists([[1]]))
    out = np.ascontiguousarray(head.item_matrix()[::-1])
    head.restore({"psi_out": out})
    assert (head.item_matrix() == out).all()
    assert (head.query(Histories.from_lists([[1]])) == before).all()


def test_age_weights_count_from_the_end(head: Natpar) -> None:
    head.restore({"age_weights": np.array([1.0, 0.5, 0.25], np.float32)})
    got = head.user_state(Histories.from_lists([[1, 2, 3, 4], [7]]))
    psi = head.state()["psi_in"].astype(np.float64)
    np.testing.assert_allclose(got.r[0], np.array([0.25, 0.25, 0.5, 1.0]) @ psi[[1, 2, 3, 4]], atol=1e-6)
    assert got.kappa.tolist() == [2.0, 1.0]
    with pytest.raises(ArgumentError, match="user_state on the whole history"):
        head.observe(got, Histories.from_lists([[1], [2]]))


def test_observing_and_forgetting_leave_no_trace(head: Natpar) -> None:
    rng = np.random.default_rng(2)
    rows = [list(rng.integers(0, 30, k)) for k in (0, 1, 9)]
    more = [list(rng.integers(0, 30, k)) for k in (3, 0, 5)]
    plain = Histories.from_lists(more)
    events = Histories(
        plain.items, plain.offsets, rng.uniform(0, 3, len(plain.items)).astype(np.float32), plain.timestamps
    )
    start = head.user_state(Histories.from_lists(rows))
    later = head.observe(start, events)
    together = head.user_state(Histories.from_lists(rows).join(events))
    assert (later.r == together.r).all()
    assert (later.kappa == together.kappa).all()
    assert (head.query_state(later) == head.query_state(together)).all()
    back = head.forget(later, events)
    assert (back.r == start.r).all()
    assert (back.kappa == start.kappa).all()
    one_at_a_time = start
    for position in range(5):
        one_at_a_time = head.observe(one_at_a_time, events.between(position, position + 1))
    assert (one_at_a_time.r == later.r).all()


def test_only_what_was_added_can_be_forgotten(head: Natpar) -> None:
    state = head.user_state(Histories.from_lists([[1]]))
    with pytest.raises(ArgumentError, match="row 0: events of weight 2"):
        head.forget(state, Histories.from_lists([[1, 2]]))


def test_state_restores_to_the_byte(head: Natpar, chance: TrainingLog) -> None:
    again = Natpar(factors=6)
    again.restore(head.state())
    assert (again.query(chance.histories) == head.query(chance.histories)).all()
    assert (again.item_matrix() == head.item_matrix()).all()


def test_same_seed_same_bytes_and_another_seed_is_another_basis(chance: TrainingLog) -> None:
    def fitted(seed: int) -> np.ndarray:
        head = Natpar(factors=6, iterations=2)
        head.fit(chance, np.random.default_rng(seed))
        return head.item_matrix()

    assert (fitted(1) == fitted(1)).all()
    assert (fitted(1) != fitted(2)).any()


def test_warm_start_keeps_the_basis_while_the_catalogue_grows(checkerboard: TrainingLog) -> None:
    head = Natpar(factors=2, iterations=25, warm_start=True)
    head.fit(checkerboard, np.random.default_rng(0))
    before = head.item_matrix()
    head.restore({"prior_mean": np.ones((2, 2), np.float32)})
    grown = TrainingLog(
        Histories.concatenate([checkerboard.histories, Histories.from_lists([[20, 4, 22]])]), 23
    )
    head.fit(grown, np.random.default_rng(9))
    after = head.item_matrix()
    assert after.shape == (23, 2)
    colour, same_colour = before[:, 0], after[:20, 0]  # the other dimension holds noise only
    assert colour @ same_colour > 0.95 * np.linalg.norm(colour) * np.linalg.norm(same_colour)
    assert (after[22] != 0).any()
    assert (after[21] == 0).all()
    assert (head.state()["prior_mean"] == 1).all()
    with pytest.raises(ArgumentError, match="23 items but the log has a catalogue of 20"):
        head.fit(checkerboard, np.random.default_rng(0))


def test_refuses_to_work_before_it_is_fitted() -> None:
    head = Natpar()
    for call in (head.item_matrix, head.state, lambda: head.query(Histories.from_lists([[0]]))):
        with pytest.raises(NotFittedError, match="fit"):
            call()


def test_names_what_is_wrong_with_a_history(head: Natpar) -> None:
    with pytest.raises(ArgumentError, match="item 30 at position 1"):
        head.query(Histories.from_lists([[0, 30]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"psi_in": np.zeros((30, 5), np.float32)}, r"item_factors has shape \(30, 6\), expected \(30, 5\)"),
        ({"psi_out": np.zeros((29, 6), np.float32)}, "psi_out has shape"),
        ({"prior_variance": np.zeros((2, 6), np.float32)}, "prior_variance has shape"),
        ({"prior_variance": np.full((8, 6), -1, np.float32)}, "prior_variance holds -1"),
        ({"prior_mean": np.zeros((0, 6), np.float32)}, "prior_mean is empty"),
        ({"prior_mean": np.full((1, 6), np.nan, np.float32)}, "prior_mean holds NaN"),
        ({"age_weights": np.array([1, -1], np.float32)}, "age_weights holds -1"),
        ({"kappa_edges": np.arange(7, 0, -1).astype(np.float32)}, "ascending"),
    ],
)
def test_a_bad_state_is_refused_and_nothing_changes(head: Natpar, change: dict, message: str) -> None:
    before = head.query(Histories.from_lists([[1, 2]]))
    with pytest.raises(ArtefactError, match=message):
        head.restore(change)
    assert (head.query(Histories.from_lists([[1, 2]])) == before).all()


def test_a_partial_state_needs_a_fitted_head() -> None:
    with pytest.raises(ArtefactError, match="no array 'psi_in'"):
        Natpar().restore({"prior_mean": np.zeros((1, 6), np.float32)})


@pytest.mark.parametrize(
    "wrong",
    [
        {"factors": 0},
        {"popularity_smoothing": -1.0},
        {"whitening_floor": -1.0},
        {"prior_scale": 0},
        {"prior_gain": 0},
    ],
)
def test_arguments_are_checked(wrong: dict) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        Natpar(**wrong)
