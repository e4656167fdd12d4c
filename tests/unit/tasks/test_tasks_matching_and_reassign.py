import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError, DataError
from metarec_sdk.tasks import match_members, match_tasks, memberships_from_likelihood, reassign

RNG = np.random.default_rng(0)


def test_a_permutation_is_recovered_from_moved_centres():
    old = RNG.normal(size=(6, 4)).astype(np.float32) * 5
    order = RNG.permutation(6)
    new = old[order] + RNG.normal(size=(6, 4)).astype(np.float32) * 0.1
    np.testing.assert_array_equal(match_tasks(old, new), order)


def test_matching_minimises_the_total_not_each_distance():
    old = np.array([[0.0], [1.0]], np.float32)
    new = np.array([[0.9], [-3.0]], np.float32)
    np.testing.assert_array_equal(match_tasks(old, new), [1, 0])
    np.testing.assert_array_equal(match_tasks(old, new, max_distance=0.5), [1, -1])


def test_more_new_tasks_than_old_ones():
    old = np.array([[0.0]], np.float32)
    new = np.array([[9.0], [0.1], [5.0]], np.float32)
    np.testing.assert_array_equal(match_tasks(old, new), [-1, 0, -1])
    np.testing.assert_array_equal(match_tasks(old[:0], new), [-1, -1, -1])
    with pytest.raises(ArgumentError, match="width"):
        match_tasks(old, np.zeros((1, 2), np.float32))


def test_members_are_matched_by_overlap():
    old = np.array([0, 0, 0, 1, 1, -1, -1], np.int32)
    new = np.array([2, 2, 1, 1, 1, 0, 0], np.int32)
    np.testing.assert_array_equal(match_members(old, new, n_old=2, n_new=3), [-1, 1, 0])
    with pytest.raises(ArgumentError, match="same users"):
        match_members(old, new[1:], n_old=2, n_new=3)


def test_users_move_to_their_most_likely_task_with_hysteresis():
    likelihood = np.array([[0.0, 1.0], [3.0, 0.0], [0.0, 0.2], [0.0, 0.0]])
    assigned = np.array([0, 1, 0, 1], np.int32)
    np.testing.assert_array_equal(reassign(likelihood, assigned, min_size=1), [1, 0, 1, 1])
    np.testing.assert_array_equal(reassign(likelihood, assigned, margin=0.5, min_size=1), [1, 0, 0, 1])


def test_small_tasks_dissolve_and_silent_supports_stay_at_the_parent():
    likelihood = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assigned = np.full(4, -1, np.int32)
    np.testing.assert_array_equal(reassign(likelihood, assigned, min_size=2), [0, 0, -1, -1])
    np.testing.assert_array_equal(reassign(np.zeros((2, 0)), assigned[:2]), [-1, -1])
    with pytest.raises(ArgumentError, match=r"f\[u, C\]"):
        reassign(likelihood, assigned[:2])
    with pytest.raises(DataError, match="finite"):
        reassign(np.array([[np.nan]]), assigned[:1])


def test_posterior_memberships():
    likelihood = np.array([[0.0, np.log(3.0), -50.0]])
    soft = memberships_from_likelihood(likelihood, np.log([0.5, 0.5, 1.0]))
    np.testing.assert_array_equal(soft.tasks, [[1, 0]])
    np.testing.assert_allclose(soft.weights, [[0.75, 0.25]], atol=1e-6)
    one = memberships_from_likelihood(np.zeros((2, 1)), np.zeros(1))
    np.testing.assert_array_equal(one.tasks, [[0, -1], [0, -1]])
