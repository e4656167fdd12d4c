"""``segments/gmm`` against scikit-learn's mixture."""

from __future__ import annotations

import numpy as np
import pytest

from metarec_sdk import DataError

SEED = 11


@pytest.fixture
def gmm(segments):
    """``gmm(**params)``: the component, built as the recommender builds it."""
    return lambda **params: segments("gmm", **params)


@pytest.fixture
def users() -> tuple[np.ndarray, np.ndarray]:
    """A wide and a narrow group that share a centre in one feature and differ in the other; [u, 2], [u]."""
    rng = np.random.default_rng(SEED)
    wide = rng.normal([0, 0], [1.0, 3.0], (300, 2))
    narrow = rng.normal([6, 0], [0.3, 0.2], (100, 2))
    return np.concatenate([wide, narrow]).astype(np.float32), np.repeat([0, 1], [300, 100])


def test_known_groups_are_found_largest_first(gmm, users):
    x, group = users
    component = gmm(n_tasks=2)
    component.fit(x, np.random.default_rng(SEED))
    assert component.n_tasks == 2
    assert (component.assign(x) == group).mean() > 0.99


def test_memberships_are_the_posterior_of_scikit_learn_s_mixture(gmm, users):
    from sklearn.mixture import GaussianMixture

    x, _ = users
    component = gmm(n_tasks=3, restarts=1, min_size=1)
    component.fit(x, np.random.default_rng(SEED))
    state = component.state()
    reference = GaussianMixture(3, covariance_type="diag")
    reference.weights_ = state["share"].astype(np.float64) / state["share"].sum(dtype=np.float64)
    reference.means_ = state["centres"].astype(np.float64)
    reference.covariances_ = state["variances"].astype(np.float64)
    reference.precisions_cholesky_ = reference.covariances_**-0.5
    posterior = reference.predict_proba((x - state["mean"]) / state["scale"])

    memberships = component.memberships(x)
    top = -np.sort(-posterior, axis=1)[:, :2]
    np.testing.assert_allclose(memberships.weights, top / top.sum(1, keepdims=True), atol=1e-5)
    np.testing.assert_array_equal(memberships.tasks[:, 0], posterior.argmax(1))
    np.testing.assert_array_equal(memberships.tasks[:, 0], component.assign(x))


def test_a_user_between_two_segments_belongs_to_both(gmm):
    rng = np.random.default_rng(SEED)
    x = np.concatenate([rng.normal(-2, 1, (500, 1)), rng.normal(2, 1, (500, 1))]).astype(np.float32)
    component = gmm(n_tasks=2)
    component.fit(x, rng)
    between = component.memberships(np.zeros((1, 1), np.float32))
    assert set(between.tasks[0].tolist()) == {0, 1}
    assert between.weights[0, 1] > 0.3


def test_a_small_segment_is_served_by_the_parent(gmm, users):
    x, group = users
    component = gmm(n_tasks=2, min_size=150)
    component.fit(x, np.random.default_rng(SEED))
    assert component.n_tasks == 1
    assert set(component.assign(x)[group == 1].tolist()) == {-1}


@pytest.mark.parametrize("u", [1, 2, 5])
def test_few_or_equal_users_give_fewer_segments(gmm, u):
    component = gmm(min_size=1)
    x = np.ones((u, 3), np.float32)
    component.fit(x, np.random.default_rng(SEED))
    assert component.n_tasks == 1
    assert component.assign(x).tolist() == [0] * u
    memberships = component.memberships(x)
    np.testing.assert_allclose(memberships.weights, np.tile([1.0, 0.0], (u, 1)))
    assert component.assign(np.zeros((0, 3), np.float32)).tolist() == []


def test_errors_name_the_plugin(gmm):
    with pytest.raises(DataError, match=r"x\[0, 1\] is nan") as caught:
        gmm().fit(np.array([[0.0, np.nan]]), np.random.default_rng(SEED))
    assert "metarec-segments" in caught.value.__notes__[0]
