import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError, NotFittedError
from metarec_sdk.tasks import ColumnTasks, OneTask
from metarec_sdk.types import Clusterer

RNG = np.random.default_rng(0)


def codes(*values):
    return np.array(values, np.float32)[:, None]


def test_values_are_tasks_and_rare_or_unknown_ones_the_parent():
    model = ColumnTasks(column="market", min_size=2)
    assert isinstance(model, Clusterer)
    model.fit(codes(3, 3, 0, 0, 0, 5, -1, -1), RNG)
    assert model.n_tasks == 2
    np.testing.assert_array_equal(model.assign(codes(0, 3, 5, -1, 9)), [0, 1, -1, -1, -1])
    soft = model.memberships(codes(3, 5))
    np.testing.assert_array_equal(soft.tasks, [[1, -1], [-1, -1]])
    np.testing.assert_array_equal(soft.weights, [[1, 0], [1, 0]])
    other = ColumnTasks(column="market", min_size=2)
    other.restore(model.state())
    np.testing.assert_array_equal(other.assign(codes(0, 3)), [0, 1])


def test_nobody_in_a_large_enough_task():
    model = ColumnTasks(min_size=50)
    model.fit(codes(0, 1), RNG)
    assert model.n_tasks == 0
    np.testing.assert_array_equal(model.assign(codes(0, 1)), [-1, -1])


def test_bad_input():
    with pytest.raises(NotFittedError):
        ColumnTasks().assign(codes(0))
    with pytest.raises(ArgumentError, match="category codes"):
        ColumnTasks().fit(codes(0.5), RNG)
    with pytest.raises(ArgumentError, match=r"f32\[u, 1\]"):
        ColumnTasks().fit(np.zeros((2, 2), np.float32), RNG)
    with pytest.raises(ArgumentError, match="min_size"):
        ColumnTasks(min_size=0)


def test_one_task_is_the_parent():
    model = OneTask()
    assert isinstance(model, Clusterer)
    model.fit(np.zeros((3, 2), np.float32), RNG)
    assert model.n_tasks == 0
    np.testing.assert_array_equal(model.assign(np.zeros((3, 2), np.float32)), [-1, -1, -1])
    model.restore(model.state())
    np.testing.assert_array_equal(model.memberships(np.zeros((2, 0), np.float32)).weights, [[1, 0], [1, 0]])
