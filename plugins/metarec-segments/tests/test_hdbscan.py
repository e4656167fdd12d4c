"""``segments/hdbscan`` against scikit-learn's labels and strengths."""

from __future__ import annotations

import numpy as np
import pytest


def crowd(seed: int, p: int = 2) -> np.ndarray:
    """Groups of unlike density in a sparse background; f32[u, p]."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(at, spread, (size, p)) for at, spread, size in ((0, 0.3, 150), (6, 1.0, 120))]
    parts += [rng.normal(-5, 0.1, (80, p)), rng.uniform(-12, 12, (100, p))]
    return np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("p", [2, 3])
def test_the_users_of_the_fit_keep_scikit_learn_s_labels_and_strengths(segments, seed, p):
    from sklearn.cluster import HDBSCAN

    x = crowd(seed, p)
    component = segments("hdbscan", min_size=40, min_samples=8, dimensions=p)
    component.fit(x, np.random.default_rng(0))
    state = component.state()
    reference = HDBSCAN(min_cluster_size=40, min_samples=8, copy=True).fit(state["points"].astype(np.float64))
    assert len(set(reference.labels_)) > 2
    assert (reference.labels_ == -1).sum() > 20

    found = component.assign(x)
    # largest first, so the numbers are a permutation; noise is noise
    pairs = set(zip(reference.labels_.tolist(), found.tolist()))
    assert len(pairs) == len(set(reference.labels_.tolist()))
    assert (-1, -1) in pairs
    assert (np.diff(np.bincount(found[found >= 0])) <= 0).all()

    memberships = component.memberships(x)
    clustered = found >= 0
    np.testing.assert_allclose(
        memberships.weights[clustered, 0], reference.probabilities_[clustered], rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(memberships.tasks[:, 1], np.full(len(x), -1))
    np.testing.assert_array_equal(
        memberships.weights[~clustered], np.tile([1.0, 0.0], ((~clustered).sum(), 1))
    )


def test_all_dimensions_kept_is_a_rotation_that_changes_no_label(segments):
    from sklearn.cluster import HDBSCAN

    x = crowd(3)
    component = segments("hdbscan", min_size=40, min_samples=8, dimensions=2)
    component.fit(x, np.random.default_rng(0))
    standard = (x - x.mean(0, dtype=np.float64)) / x.std(0, dtype=np.float64)
    reference = HDBSCAN(min_cluster_size=40, min_samples=8, copy=True).fit_predict(standard)
    found = component.assign(x)
    assert np.mean((reference == -1) == (found == -1)) > 0.99


def test_somebody_new_joins_the_group_around_or_none(segments):
    x = crowd(0)
    component = segments("hdbscan", min_size=40, min_samples=8)
    component.fit(x, np.random.default_rng(0))
    of_group = component.assign(x[:150])
    inside, far = np.float32([[0.0, 0.0]]), np.float32([[30.0, -30.0]])
    assert component.assign(inside)[0] == np.bincount(of_group[of_group >= 0]).argmax()
    assert component.assign(far)[0] == -1
    assert component.memberships(far).weights.tolist() == [[1.0, 0.0]]


def test_noise_alone_and_few_users_are_no_segment(segments):
    rng = np.random.default_rng(0)
    for u in (1, 2, 49):
        component = segments("hdbscan")
        x = rng.normal(size=(u, 6)).astype(np.float32)
        component.fit(x, rng)
        assert component.n_tasks == 0
        assert component.assign(x).tolist() == [-1] * u


def test_a_sample_stands_for_many_users(segments):
    x = np.concatenate([crowd(seed) for seed in range(3)])
    component = segments("hdbscan", min_size=40, min_samples=8, most_users=450)
    component.fit(x, np.random.default_rng(0))
    assert len(component.state()["points"]) == 450
    assert component.n_tasks >= 2
    assert component.assign(x).shape == (len(x),)
