"""The hidden Markov model against all paths counted out, hmmlearn, and planted parameters."""

from itertools import product

import numpy as np
import pytest
from hmmlearn.hmm import CategoricalHMM

from metarec_behaviour.forward import posterior
from metarec_behaviour.hmm import HiddenMarkov

TYPES = ["view", "cart", "purchase"]
START = np.array([0.7, 0.3])
MOVES = np.array([[0.9, 0.1], [0.2, 0.8]])
SHOWN = np.array([[0.8, 0.15, 0.05], [0.1, 0.3, 0.6]])
SEQUENCES = [[0], [2, 1, 0, 0, 2], [1, 1, 2], [0, 0, 0, 2, 2, 2, 1]]


def ragged(sequences):
    symbols = np.array([symbol for row in sequences for symbol in row], np.int32)
    return symbols, np.concatenate([[0], np.cumsum([len(row) for row in sequences])]).astype(np.int64)


def planted(u=400, length=40, seed=0):
    """i64[u, length], event types of people who follow the model above."""
    rng = np.random.default_rng(seed)
    state = (rng.random(u) > START[0]).astype(int)
    rows = []
    for _ in range(length):
        rows.append((rng.random(u)[:, None] > SHOWN[state].cumsum(1)).sum(1))
        state = (rng.random(u) > MOVES[state, 0]).astype(int)
    return np.stack(rows, axis=1)


def test_posterior_is_the_sum_over_all_paths():
    symbols, offsets = ragged(SEQUENCES)
    found = posterior(START, MOVES, SHOWN, symbols, offsets)
    for row, sequence in enumerate(SEQUENCES):
        total, states, stays = 0.0, np.zeros((len(sequence), 2)), np.zeros(len(sequence))
        for path in product(range(2), repeat=len(sequence)):
            weight = START[path[0]] * SHOWN[path[0], sequence[0]]
            for step in range(1, len(sequence)):
                weight *= MOVES[path[step - 1], path[step]] * SHOWN[path[step], sequence[step]]
            total += weight
            states[np.arange(len(sequence)), path] += weight
            stays[:-1] += weight * np.equal(path[1:], path[:-1])
        here = slice(offsets[row], offsets[row + 1])
        assert found.log_likelihood[row] == pytest.approx(np.log(total), rel=1e-12)
        np.testing.assert_allclose(found.states[here], states / total, rtol=1e-10)
        np.testing.assert_allclose(found.stays[here][:-1], stays[:-1] / total, rtol=1e-10)
        assert np.isnan(found.stays[here][-1])


def test_posterior_is_hmmlearns():
    rng = np.random.default_rng(1)
    k, s = 5, 7
    model = CategoricalHMM(k, n_features=s)
    model.startprob_ = rng.dirichlet(np.ones(k))
    model.transmat_ = rng.dirichlet(np.ones(k), k)
    model.emissionprob_ = rng.dirichlet(np.ones(s), k)
    sequences = [list(rng.integers(0, s, length)) for length in (1, 400, 3, 50, 50)]
    symbols, offsets = ragged(sequences)
    found = posterior(model.startprob_, model.transmat_, model.emissionprob_, symbols, offsets)
    scores = [model.score(np.array(row)[:, None]) for row in sequences]
    np.testing.assert_allclose(found.log_likelihood, scores, rtol=1e-10)
    states = model.predict_proba(symbols[:, None], np.diff(offsets))
    np.testing.assert_allclose(found.states, states, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_planted_parameters_are_found(frame_of, seed):
    kinds = planted()
    log = frame_of(np.repeat(np.arange(len(kinds)), kinds.shape[1]), np.array(TYPES)[kinds].ravel())
    model = HiddenMarkov(n_states=2, aspects=["event_type"], iterations=200, restarts=1)
    model.fit(log, np.random.default_rng(seed))
    state = model.state()  # the larger state first, as in the planted one
    np.testing.assert_allclose(state["transitions"], MOVES, atol=0.03)
    np.testing.assert_allclose(state["emissions"][:, [3, 1, 2]], SHOWN, atol=0.03)  # view, cart, purchase
    np.testing.assert_allclose(state["start"], START, atol=0.1)


def test_features_are_time_in_a_state_and_changes(frame_of):
    kinds = planted(u=60)
    log = frame_of(np.repeat(np.arange(60), 40), np.array(TYPES)[kinds].ravel())
    model = HiddenMarkov(n_states=2, aspects=["event_type"])
    model.fit(log, np.random.default_rng(0))
    x = model.features(log)
    assert x.shape == (60, 3)
    purchases = (kinds == 2).mean(1)
    assert np.corrcoef(x[:, 1], purchases)[0, 1] > 0.9
    assert model.features(log.head(1))[0, 2] == 0


def test_order_matters(frame_of):
    """Blocks are likelier than the same events shuffled, which a model of counts can't see."""
    kinds = planted()
    log = frame_of(np.repeat(np.arange(len(kinds)), 40), np.array(TYPES)[kinds].ravel())
    model = HiddenMarkov(n_states=2, aspects=["event_type"])
    model.fit(log, np.random.default_rng(0))
    blocks = frame_of([1] * 20, ["view"] * 10 + ["purchase"] * 10)
    turns = frame_of([1] * 20, ["view", "purchase"] * 10)
    assert model.log_likelihood(blocks)[0] > model.log_likelihood(turns)[0] + 3


def test_em_learns_from_a_sample_of_a_large_log(frame_of):
    kinds = planted(u=200)
    log = frame_of(np.repeat(np.arange(200), 40), np.array(TYPES)[kinds].ravel())
    model = HiddenMarkov(n_states=2, aspects=["event_type"], max_events=2000)
    model.fit(log, np.random.default_rng(0))
    np.testing.assert_allclose(model.state()["transitions"], MOVES, atol=0.15)
    assert model.features(log).shape == (200, 3)


def test_one_event_each_and_more_states_than_symbols(frame_of):
    log = frame_of([1, 2, 3], ["view", "view", "cart"])
    model = HiddenMarkov(n_states=4, aspects=["event_type"])
    model.fit(log, np.random.default_rng(0))
    assert np.isfinite(model.log_likelihood(log)).all()
    assert np.isfinite(model.features(log)).all()
