"""The guarantee of ``segments/k-anonymous``, as a property of whatever users there are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarec_segments.anonymous import AnonymousSegments


@st.composite
def crowds(draw) -> tuple[np.ndarray, int, int, int]:
    """(x f32[u, p], k, n_tasks, seed): ties, duplicates, outliers and constant features are likely."""
    u, p = draw(st.integers(1, 60)), draw(st.integers(1, 3))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    kind = draw(st.sampled_from(["grid", "normal", "outliers", "constant"]))
    x = {
        "grid": lambda: rng.integers(-1, 2, (u, p)),
        "normal": lambda: rng.normal(size=(u, p)),
        "outliers": lambda: rng.standard_cauchy((u, p)) * 100,
        "constant": lambda: np.full((u, p), 3.0),
    }[kind]()
    return x.astype(np.float32), draw(st.integers(1, 20)), draw(st.integers(1, 12)), seed


@settings(max_examples=150, deadline=None, derandomize=True)
@given(crowds())
def test_every_task_is_shared_by_k_users_of_the_fit(crowd):
    x, k, n_tasks, seed = crowd
    segments = AnonymousSegments(n_tasks=n_tasks, k=k, restarts=1)
    segments.fit(x, np.random.default_rng(seed))
    task = segments.assign(x)
    if len(x) < k:
        assert segments.n_tasks == 0
        assert set(task.tolist()) == {-1}
        assert not segments.state()["mean"].any()  # not even a mean of so few
    else:
        assert 1 <= segments.n_tasks <= n_tasks
        assert np.bincount(task, minlength=segments.n_tasks).min() >= k  # bincount refuses a -1
    # alone or among others, a user is in the same task: the count holds for every batch
    assert [int(segments.assign(row[None])[0]) for row in x] == task.tolist()
    # nobody else gets into a task that wasn't counted
    strangers = np.random.default_rng(seed + 1).normal(0, 1e4, (20, x.shape[1])).astype(np.float32)
    assert set(segments.assign(strangers).tolist()) <= set(task.tolist())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(crowds())
def test_memberships_are_hard(crowd):
    x, k, n_tasks, seed = crowd
    segments = AnonymousSegments(n_tasks=n_tasks, k=k, restarts=1)
    segments.fit(x, np.random.default_rng(seed))
    memberships = segments.memberships(x)
    assert (memberships.weights == [1.0, 0.0]).all()
    assert (memberships.tasks[:, 1] == -1).all()


def test_each_centre_is_the_mean_of_k_users_or_more():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0, 1, (50, 2)), rng.normal(40, 1, (9, 2)), [[500.0, 500.0]]])
    segments = AnonymousSegments(n_tasks=6, k=10)
    segments.fit(x.astype(np.float32), rng)
    state = segments.state()
    standard = (x.astype(np.float32).astype(np.float64) - state["mean"]) / state["scale"]
    # a single user moves the mean of 10 by no more than a tenth of the way
    alone = standard[-1]
    assert np.linalg.norm(state["centres"] - alone, axis=1).min() > 0.5 * np.linalg.norm(alone)
    # the group of 9 and the outlier went together
    assert len(set(segments.assign(x[50:].astype(np.float32)).tolist())) == 1


def test_groups_that_are_large_enough_are_left_as_k_means_finds_them(segments):
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(at, 1, (40, 3)) for at in (0, 10, 20)]).astype(np.float32)
    component = segments("k-anonymous", n_tasks=3, k=40)
    component.fit(x, rng)
    reference = KMeans(3, n_init=10, random_state=0).fit_predict(x)
    assert adjusted_rand_score(reference, component.assign(x)) == 1.0


@pytest.mark.parametrize("u", [49, 50])
def test_k_is_the_border(segments, u):
    component = segments("k-anonymous", k=50)
    component.fit(np.random.default_rng(0).normal(size=(u, 2)).astype(np.float32), np.random.default_rng(0))
    assert component.n_tasks == (0 if u == 49 else 1)
