"""What holds for each clusterer of the plugin."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from metarec_sdk import ArgumentError, DataError, NotFittedError
from metarec_sdk.cli import app
from metarec_sdk.errors import ArtefactError

SEED = 5
FOUND = ["gmm", "hdbscan", "k-anonymous"]
ALL = [*FOUND, "svm"]


def users(name: str) -> np.ndarray:
    """f32[300, 4], three blobs; for the SVM with a column of labels, some unknown, in front."""
    rng = np.random.default_rng(SEED)
    group = np.repeat([0, 1, 2], 100)
    x = rng.normal(0, 1, (300, 4)) + 8 * np.eye(3, 4)[group]
    if name == "svm":
        x = np.column_stack([np.where(rng.random(300) < 0.5, group, -1), x])
    return x.astype(np.float32)


def fitted(segments, name, **params):
    component = segments(name, **params)
    component.fit(users(name), np.random.default_rng(SEED))
    return component


@pytest.mark.parametrize("name", ALL)
def test_the_three_groups_are_found(segments, name):
    params = {} if name in ("svm", "hdbscan") else {"n_tasks": 3}
    component = fitted(segments, name, **({"min_size": 30} if name == "svm" else {}), **params)
    assert component.n_tasks == 3
    groups = component.assign(users(name)).reshape(3, 100)
    for row in groups:
        values, counts = np.unique(row[row >= 0], return_counts=True)
        assert counts.max() > 0.9 * len(row[row >= 0]), values
    assert len({np.bincount(row[row >= 0]).argmax() for row in groups}) == 3


@pytest.mark.parametrize("name", ALL)
def test_memberships_lead_with_the_assigned_task_and_sum_to_one(segments, name):
    component = fitted(segments, name)
    x = users(name)
    memberships = component.memberships(x)
    np.testing.assert_array_equal(memberships.tasks[:, 0], component.assign(x))
    np.testing.assert_allclose(memberships.weights.sum(1), 1, atol=1e-6)
    assert (memberships.weights >= 0).all()
    assert memberships.tasks.dtype == np.int32
    assert memberships.weights.dtype == np.float32
    assert memberships.tasks.min() >= -1
    assert memberships.tasks.max() < component.n_tasks


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_bytes_and_the_state_comes_back(segments, name):
    one, two, restored = fitted(segments, name), fitted(segments, name), segments(name)
    assert {key: array.tobytes() for key, array in one.state().items()} == {
        key: array.tobytes() for key, array in two.state().items()
    }
    restored.restore(one.state())
    x = users(name)
    for mine, theirs in zip(
        (restored.memberships(x).tasks, restored.memberships(x).weights),
        (one.memberships(x).tasks, one.memberships(x).weights),
    ):
        np.testing.assert_array_equal(mine, theirs)
    assert {array.dtype.str[1:] for array in one.state().values()} <= {"f4", "i4", "i8"}


@pytest.mark.parametrize("name", ALL)
def test_input_is_read_only_strided_or_empty(segments, name):
    component = segments(name)
    x = users(name)
    wide = np.repeat(x, 2, axis=1)
    view = wide[:, ::2]
    view.flags.writeable = False
    component.fit(view, np.random.default_rng(SEED))
    np.testing.assert_array_equal(component.assign(view), component.assign(x))
    assert component.assign(x[:0]).shape == (0,)
    assert len(component.memberships(x[:0])) == 0
    np.testing.assert_array_equal(wide[:, ::2], x)


@pytest.mark.parametrize("name", ALL)
def test_mistakes_are_typed_errors(segments, name):
    x = users(name)
    rng = np.random.default_rng(SEED)
    with pytest.raises(NotFittedError, match=name):
        segments(name).assign(x)
    with pytest.raises(ArgumentError, match="one row a user"):
        segments(name).fit(x[0], rng)
    with pytest.raises(ArgumentError, match="no rows"):
        segments(name).fit(x[:0], rng)
    broken = x.copy()
    broken[7, 2] = np.inf
    with pytest.raises(DataError, match=r"x\[7, 2\] is inf"):
        segments(name).fit(broken, rng)
    component = fitted(segments, name)
    with pytest.raises(ArgumentError, match=rf"f32\[u, {x.shape[1]}\]"):
        component.assign(x[:, :-1])
    with pytest.raises(ArtefactError, match="'mean'"):
        segments(name).restore({"other": x})


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("gmm", {"n_tasks": 0}),
        ("gmm", {"iterations": 0}),
        ("gmm", {"regularization": 0.0}),
        ("gmm", {"min_size": 0}),
        ("hdbscan", {"min_size": 1}),
        ("hdbscan", {"min_samples": 0}),
        ("hdbscan", {"dimensions": 0}),
        ("k-anonymous", {"k": 0}),
        ("k-anonymous", {"n_tasks": 0}),
        ("svm", {"column": ""}),
        ("svm", {"kernel": "sigmoid"}),
        ("svm", {"cost": 0.0}),
        ("svm", {"folds": 1}),
        ("svm", {"min_size": 1}),
    ],
)
def test_parameters_out_of_range(segments, name, params):
    with pytest.raises(ArgumentError, match=next(iter(params))):
        segments(name, **params)


def test_installing_it_imports_no_scikit_learn():
    import subprocess
    import sys

    code = (
        "import sys, metarec_sdk; m = metarec_sdk.PluginManager(enabled=['segments'], strict=True); "
        "print([r.status.value for r in m.records if r.name == 'segments'], 'sklearn' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert out.stdout.strip() == "['loaded'] False"


def test_check_of_a_component_that_the_plugin_does_not_have():
    result = CliRunner().invoke(app, ["plugins", "check", "segments/nothing"])
    assert result.exit_code == 2
    assert "segments/gmm" in result.stderr
