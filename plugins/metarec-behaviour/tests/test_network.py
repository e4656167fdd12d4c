"""The Bayesian network against pgmpy and against all forests."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from pgmpy.models import DiscreteBayesianNetwork
from pgmpy.parameter_estimator import DiscreteBayesianEstimator
from pgmpy.structure_score import BIC

from metarec_behaviour.chow_liu import parents
from metarec_behaviour.network import BayesianNetwork

COLUMNS = ["event_type", "a", "b", "c"]


def chain(n=800, seed=0):
    """event_type → a → b, and c by itself."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, n)
    a = np.where(rng.random(n) < 0.7, kind, rng.integers(0, 3, n))
    b = np.where(rng.random(n) < 0.6, a % 2, rng.integers(0, 2, n))
    return np.column_stack([kind, a, b, rng.integers(0, 4, n)]).astype(np.int32)


@pytest.fixture
def log_of(frame_of):
    """Makes a log of codes i32[e, 4], 50 people in turns."""

    def make(codes):
        named = {name: [f"{name}{code}" for code in row] for name, row in zip(COLUMNS[1:], codes.T[1:])}
        return frame_of(np.arange(len(codes)) % 50, [f"t{code}" for code in codes[:, 0]], **named)

    return make


def is_forest(above):
    for node in range(len(above)):
        seen = set()
        while node >= 0 and node not in seen:
            seen.add(node)
            node = above[node]
        if node >= 0:
            return False
    return True


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_forest_has_a_better_bic(seed):
    codes = chain(seed=seed)
    data = pd.DataFrame(codes.astype(str), columns=COLUMNS)
    score = BIC(data)
    local = {
        (child, parent): score.local_score(COLUMNS[child], () if parent < 0 else (COLUMNS[parent],))
        for child in range(4)
        for parent in range(-1, 4)
        if child != parent
    }
    forests = [
        above
        for above in product(range(-1, 4), repeat=4)
        if all(child != parent for child, parent in enumerate(above)) and is_forest(above)
    ]
    best = max(sum(local[edge] for edge in enumerate(above)) for above in forests)
    found = parents(codes, [3, 3, 2, 4])
    assert sum(local[edge] for edge in enumerate(found)) == pytest.approx(best, abs=1e-6)


def test_edges_are_the_planted_ones(log_of):
    model = BayesianNetwork(aspects=COLUMNS)
    model.fit(log_of(chain()), np.random.default_rng(0))
    assert model.edges() == [("event_type", "a"), ("a", "b")]


def test_probabilities_are_pgmpys(log_of):
    codes = chain(300)
    log = log_of(codes)
    model = BayesianNetwork(aspects=COLUMNS, smoothing=0.5)
    model.fit(log, np.random.default_rng(0))
    data = log.select(COLUMNS).to_pandas().astype(object)
    states = {name: [*sorted(set(data[name])), "other"] for name in COLUMNS}
    network = DiscreteBayesianNetwork()
    network.add_nodes_from(COLUMNS)
    network.add_edges_from(model.edges())
    network.fit(
        data,
        estimator=DiscreteBayesianEstimator(state_names=states, prior_type="dirichlet", pseudo_counts=0.5),
    )
    asked = data.head(20)
    wanted = [np.log(network.get_state_probability(dict(row))) for _, row in asked.iterrows()]
    each = log.head(20).with_columns(user_id=np.arange(20))
    np.testing.assert_allclose(model.log_likelihood(each), wanted, rtol=1e-9)
    odd = {**dict(asked.iloc[0]), "a": "other"}
    unseen = each.head(1).with_columns(a=np.array(["never"]))
    assert model.log_likelihood(unseen)[0] == pytest.approx(np.log(network.get_state_probability(odd)))


def test_features_are_residual_shares(log_of):
    """Somebody whose b goes against its parent has them in b, and nowhere else."""
    log = log_of(chain())
    model = BayesianNetwork(aspects=COLUMNS)
    model.fit(log, np.random.default_rng(0))
    usual = log.filter(log["user_id"] == 3)
    against = usual.with_columns(b=usual["a"].replace({"a0": "b1", "a1": "b0", "a2": "b1"}))
    change = model.features(against)[0] - model.features(usual)[0]
    b = slice(4 + 4, 4 + 4 + 3)  # each aspect has a value for all others, b two more
    shares = [(against["b"] == name).mean() - (usual["b"] == name).mean() for name in ("b0", "b1")]
    np.testing.assert_allclose(
        change[b],
        [0, *(share / scale for share, scale in zip(shares, model.state()["scale"][b][1:]))],
        atol=1e-5,
    )
    np.testing.assert_allclose(np.delete(change, np.r_[b]), 0, atol=1e-6)


def test_residuals_are_the_gradient_of_the_likelihood(log_of):
    """By finite differences in the logit of a root's value."""
    log = log_of(chain())
    model = BayesianNetwork(aspects=["c"])
    model.fit(log, np.random.default_rng(0))
    state, step = model.state(), 1e-6
    raw = model.features(log) * state["scale"] + state["mean"]
    sizes = log.group_by("user_id").len().sort("user_id")["len"].to_numpy()
    tilted = state["log_probabilities"] + step * (np.arange(5) == 2)
    tilted -= np.log(np.exp(tilted).sum())
    before = model.log_likelihood(log) / sizes
    model.restore({**state, "log_probabilities": tilted})
    gradient = (model.log_likelihood(log) / sizes - before) / step
    np.testing.assert_allclose(raw[:, 2], gradient, atol=1e-4)
