import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError, DataError, NotFittedError
from metarec_sdk.tasks import KMeansTasks
from metarec_sdk.types import Clusterer


def blobs(sizes=(120, 80, 60), width=5, seed=0, apart=8.0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(sizes), width)) * apart
    labels = np.repeat(np.arange(len(sizes)), sizes)
    x = (centres[labels] + rng.normal(size=(len(labels), width))).astype(np.float32)
    order = rng.permutation(len(x))
    return x[order], labels[order]


def fitted(x, seed=1, **kwargs):
    model = KMeansTasks(**{"n_tasks": 3, **kwargs})
    model.fit(x, np.random.default_rng(seed))
    return model


def test_finds_the_blobs_largest_first():
    x, labels = blobs()
    model = fitted(x)
    assert isinstance(model, Clusterer)
    assert model.n_tasks == 3
    np.testing.assert_array_equal(model.assign(x), labels)  # blob sizes descend with the label


def test_scale_and_shift_of_a_column_change_nothing():
    x, _ = blobs()
    np.testing.assert_array_equal(fitted(x).assign(x), fitted(x * 64 + 128).assign(x * 64 + 128))


def test_small_clusters_fall_back_to_the_parent():
    x, labels = blobs(sizes=(120, 80, 20))
    model = fitted(x, min_size=50)
    assert model.n_tasks == 2
    np.testing.assert_array_equal(model.assign(x), np.where(labels == 2, -1, labels))
    assert model.centres.shape == (2, 5)


def test_everything_small_leaves_no_task():
    x, _ = blobs(sizes=(10, 10, 10))
    model = fitted(x)
    assert model.n_tasks == 0
    assert (model.memberships(x).tasks == -1).all()


def test_memberships_are_soft_between_centres_and_hard_at_softness_zero():
    x, _ = blobs(apart=1.0)
    model = fitted(x)
    soft = model.memberships(x)
    assert soft.tasks.dtype == np.int32
    assert soft.weights.dtype == np.float32
    np.testing.assert_allclose(soft.weights.sum(1), 1, atol=1e-6)
    assert (soft.weights[:, 0] >= soft.weights[:, 1]).all()
    assert ((soft.weights[:, 1] > 0.01) & (soft.weights[:, 1] < 0.5)).any()
    hard = fitted(x, softness=0.0)
    np.testing.assert_array_equal(hard.memberships(x).tasks[:, 0], hard.assign(x))


def test_membership_matches_the_mixture_formula():
    x, _ = blobs(apart=1.5)
    model = fitted(x)
    state = model.state()
    standard = (x.astype(np.float64) - state["mean"]) / state["scale"]
    squared = np.square(standard[:, None] - state["centres"]).sum(2)
    score = np.log(state["share"]) - squared / (2 * state["variance"][0])
    top = -np.sort(-score, axis=1)[:, :2]
    expected = np.exp(top - top[:, :1])
    np.testing.assert_allclose(
        model.memberships(x).weights, expected / expected.sum(1, keepdims=True), atol=1e-4
    )


def test_same_seed_same_bytes_and_restore():
    x, _ = blobs(apart=1.0)
    first, second = fitted(x, seed=5), fitted(x, seed=5)
    for name, value in first.state().items():
        assert value.tobytes() == second.state()[name].tobytes()
    other = KMeansTasks(n_tasks=3)
    other.restore(first.state())
    assert other.memberships(x).weights.tobytes() == first.memberships(x).weights.tobytes()


def test_fewer_distinct_users_than_tasks():
    x = np.repeat(np.array([[0.0, 1.0], [5.0, 1.0]], np.float32), 60, axis=0)
    model = fitted(x, n_tasks=8)
    assert model.n_tasks == 2
    np.testing.assert_array_equal(np.unique(model.assign(x)), [0, 1])


def test_one_user_and_no_rows_to_assign():
    model = fitted(np.zeros((1, 3), np.float32), min_size=1)
    assert model.assign(np.zeros((0, 3), np.float32)).shape == (0,)
    assert model.memberships(np.zeros((0, 3), np.float32)).weights.shape == (0, 2)
    one = model.memberships(np.zeros((1, 3), np.float32))
    np.testing.assert_array_equal(one.tasks, [[0, -1]])
    np.testing.assert_array_equal(one.weights, [[1, 0]])


def test_minibatches_find_the_blobs_too():
    x, labels = blobs(sizes=(600, 400, 200))
    model = fitted(x, minibatch_above=100)
    assert (model.assign(x) == labels).mean() > 0.98


def test_renumber_moves_ids_only():
    x, _ = blobs(sizes=(120, 80, 20))
    model = fitted(x)
    before = model.assign(x)
    model.renumber(np.array([1, 0], np.int32))
    np.testing.assert_array_equal(model.assign(x), np.array([1, 0, -1])[before])
    with pytest.raises(ArgumentError, match="permutation"):
        model.renumber(np.array([0, 0], np.int32))


def test_bad_input():
    x, _ = blobs()
    with pytest.raises(NotFittedError):
        KMeansTasks().assign(x)
    with pytest.raises(ArgumentError, match="no rows"):
        fitted(x[:0])
    with pytest.raises(ArgumentError, match="shape"):
        fitted(x).assign(x[:, :2])
    x[7, 2] = np.nan
    with pytest.raises(DataError, match=r"x\[7, 2\] is nan"):
        fitted(x)
    with pytest.raises(ArgumentError, match="n_tasks"):
        KMeansTasks(n_tasks=0)
