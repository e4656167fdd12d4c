"""``segments/svm`` against scikit-learn's calibrated machines, a known posterior, and through the facade."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metarec_sdk import ArgumentError, DataError

SEED = 7


def labelled(n_labels: int, u: int = 240, seed: int = SEED) -> np.ndarray:
    """f32[u, 1 + 3], overlapping groups, every third label unknown."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, n_labels, u)
    x = rng.normal(0, 1, (u, 3)) + 1.5 * np.eye(n_labels, 3)[group]
    return np.column_stack([np.where(np.arange(u) % 3 == 0, -1, group), x]).astype(np.float32)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
@pytest.mark.parametrize("n_labels", [2, 3])
def test_probabilities_are_those_of_scikit_learn(segments, kernel, n_labels):
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.model_selection import StratifiedKFold
    from sklearn.svm import SVC

    x = labelled(n_labels)
    component = segments("svm", min_size=20, kernel=kernel, cost=2.0)
    component.fit(x, np.random.default_rng(SEED))
    state = component.state()
    standard = (x[:, 1:].astype(np.float64) - state["mean"]) / state["scale"]
    known = x[:, 0] >= 0
    draw = np.random.default_rng(SEED)
    each = []
    for label in [1] if n_labels == 2 else range(n_labels):
        folds = StratifiedKFold(5, shuffle=True, random_state=int(draw.integers(2**31 - 1)))
        model = CalibratedClassifierCV(
            SVC(C=2.0, kernel=kernel, gamma=float(np.float32(1 / 3))),
            method="sigmoid",
            cv=folds,
            ensemble=False,
        )
        model.fit(standard[known], x[known, 0] == label)
        each.append(model.predict_proba(standard)[:, 1])
    if n_labels == 2:
        each = [1 - each[0], each[0]]
    reference = np.stack(each, axis=1)
    reference /= reference.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(component.probabilities(x), reference, atol=2e-5)

    memberships = component.memberships(x)
    top = -np.sort(-reference, axis=1)[:, :2]
    np.testing.assert_allclose(
        memberships.weights[~known], (top / top.sum(1, keepdims=True))[~known], atol=2e-5
    )
    np.testing.assert_array_equal(memberships.tasks[~known, 0], reference.argmax(1)[~known])


def test_probabilities_are_calibrated_where_the_posterior_is_known(segments):
    # Two unit Gaussians at ±½, one three times as frequent: P(1 | z) = σ(z + log 3).
    rng = np.random.default_rng(SEED)
    group = (rng.random(2_500) < 0.75).astype(int)
    z = rng.normal(group - 0.5, 1.0)
    x = np.column_stack([np.where(np.arange(2_500) < 1_500, group, -1), z]).astype(np.float32)
    component = segments("svm", min_size=50, kernel="linear")
    component.fit(x, rng)
    given = component.probabilities(x[1_500:])[:, 1]
    posterior = 1 / (1 + np.exp(-(z[1_500:] + np.log(3))))
    assert np.abs(given - posterior).mean() < 0.05
    # of the users said to be of label 1 with probability p, a share p is: in every third of them
    order = np.argsort(given)
    for part in np.array_split(order, 3):
        assert abs(given[part].mean() - group[1_500:][part].mean()) < 0.06


def test_labels_stay_rare_ones_have_no_segment_and_the_rest_is_told_apart(segments):
    x = labelled(3)
    x[:4, 0] = 9  # four users with a rare label
    component = segments("svm", min_size=20)
    component.fit(x, np.random.default_rng(SEED))
    assert component.n_tasks == 3
    task, known = component.assign(x), x[:, 0] >= 0
    assert task[:4].tolist() == [-1] * 4
    np.testing.assert_array_equal(task[4:][known[4:]], x[4:, 0][known[4:]].astype(int))
    assert (component.memberships(x).weights[known] == [1.0, 0.0]).all()
    assert task[~known].min() >= 0
    unseen = x[:1].copy()
    unseen[0, 0] = 77
    assert component.assign(unseen).tolist() == [-1]


def test_codes_with_gaps_and_a_single_or_no_label(segments):
    x = labelled(2)
    x[x[:, 0] == 1, 0] = 6
    component = segments("svm", min_size=20)
    component.fit(x, np.random.default_rng(SEED))
    assert component.state()["codes"].tolist() == [0, 6]
    one = x[x[:, 0] != 6]
    component.fit(one, np.random.default_rng(SEED))
    assert component.n_tasks == 1
    assert set(component.assign(one).tolist()) == {0}
    none = x.copy()
    none[:, 0] = -1
    component.fit(none, np.random.default_rng(SEED))
    assert component.n_tasks == 0
    assert set(component.assign(none).tolist()) == {-1}


def test_a_sample_keeps_the_labels_shares(segments):
    x = labelled(3, u=900)
    component = segments("svm", min_size=20, most_users=150)
    component.fit(x, np.random.default_rng(SEED))
    assert len(component.state()["vectors"]) <= 150
    unknown = x[:, 0] == -1
    rng = np.random.default_rng(SEED)
    truth = rng.integers(0, 3, 900)[unknown]
    assert (component.assign(x)[unknown] == truth).mean() > 0.6  # chance: 1/3


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((5, 1)), ArgumentError, "p ≥ 1 features"),
        (np.array([[0.5, 1.0]]), DataError, r"x\[0, 0\] is 0.5"),
        (np.array([[0.0, 1.0], [-2.0, 1.0]]), DataError, r"x\[1, 0\] is -2.0"),
    ],
)
def test_what_isn_t_a_code_is_refused(segments, x, error, message):
    with pytest.raises(error, match=message):
        segments("svm").fit(x.astype(np.float32), np.random.default_rng(SEED))


def test_the_recommender_shows_it_the_features_of_users_without_a_label(monkeypatch):
    """Two groups with a catalogue each; half of the users have a label, the others are put where they act."""
    import metarec_sdk as mr

    monkeypatch.delenv("METAREC_PLUGINS", raising=False)
    rng = np.random.default_rng(SEED)
    rows = []
    for user in range(160):
        group = user % 2
        for step, item in enumerate(rng.choice(20, 12, replace=False)):
            segment = f"s{group}" if user % 4 < 2 else None
            rows.append((f"u{user}", f"i{item + 20 * group}", 1_700_000_000 + 3600 * (step + user), segment))
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "ts", "segment"], orient="row")
    log = mr.read_interactions(frame, user="user_id", item="item_id", time="ts")

    from metarec_sdk.plugins import PluginManager
    from metarec_sdk.recommender.components import Components
    from metarec_sdk.recommender.members import Members
    from metarec_sdk.recommender.personalise import fit_tasks
    from metarec_sdk.recommender.prepare import prepare
    from metarec_sdk.recommender.progress import steps
    from metarec_sdk.recommender.recipe import Recipe

    recipe = Recipe(
        backbone="factors", clusterer="segments/svm", min_task_size=20, params={"clusterer": {}}, seed=SEED
    )
    components = Components(recipe, PluginManager(enabled=["segments"], strict=True))
    feedback = components.feedback()
    feedback.fit(log.frame)
    items = mr.Vocabulary.from_ids(log.frame["item_id"])
    behaviour, rng = components.behaviour(), components.rng("behaviour")
    prepared = prepare(log, items, feedback, behaviour, rng, "segment", None)
    with steps(False) as step:
        members = Members.fit(components, prepared, step)
    tasks = fit_tasks(components, prepared, members, 0)
    found = tasks.memberships(prepared.log.histories, prepared.log.user_features, prepared.codes).tasks[:, 0]
    names = prepared.users.decode(np.arange(len(prepared.users))).to_list()
    truth = np.array([int(name[1:]) % 2 for name in names])
    assert (prepared.codes == -1).sum() == 80
    assert tasks.n_tasks == 2
    assert (found == truth).mean() > 0.97
    # somebody unknown, by what they did alone
    strangers = tasks.memberships(prepared.log.histories)
    assert (strangers.tasks[:, 0] == truth).mean() > 0.9
