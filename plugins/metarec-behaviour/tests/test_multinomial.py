"""The Dirichlet-multinomial against SciPy and against a direct optimum."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import gammaln
from scipy.stats import dirichlet_multinomial

from metarec_behaviour.dirichlet import concentration, log_probability
from metarec_behaviour.multinomial import DirichletMultinomial

TYPES = ["view", "cart", "purchase"]
ALPHA = np.array([3.0, 1.0, 0.4])


def planted(u=2000, alpha=ALPHA, seed=1):
    """f64[u, v], counts of people whose shares are drawn from a Dirichlet."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(alpha, u)
    return np.stack([rng.multinomial(size, share) for size, share in zip(rng.integers(1, 60, u), shares)])


def test_likelihood_is_scipys_without_the_number_of_orders():
    counts = planted(50)
    orders = gammaln(counts.sum(1) + 1) - gammaln(counts + 1).sum(1)
    wanted = dirichlet_multinomial.logpmf(counts, ALPHA, counts.sum(1)) - orders
    np.testing.assert_allclose(log_probability(counts.astype(float), ALPHA), wanted, rtol=1e-10)


def test_likelihood_is_the_product_of_predictions():
    """Each event by what came before it: Pólya's urn."""
    history, counts, total = [0, 2, 0, 0, 1], np.zeros(3), 0.0
    for event in history:
        total += np.log((counts[event] + ALPHA[event]) / (counts.sum() + ALPHA.sum()))
        counts[event] += 1
    assert log_probability(counts[None], ALPHA)[0] == pytest.approx(total)


def test_concentration_is_the_numerical_optimum():
    counts = planted().astype(float)
    found = concentration(counts, least=1e-3)

    def loss(log_alpha):
        return -dirichlet_multinomial.logpmf(counts, np.exp(log_alpha), counts.sum(1)).sum()

    optimum = minimize(loss, np.zeros(3), method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-8})
    np.testing.assert_allclose(found, np.exp(optimum.x), rtol=1e-3)
    assert loss(np.log(found)) <= optimum.fun + 1e-3
    np.testing.assert_allclose(found, ALPHA, rtol=0.1)


def test_people_who_are_all_alike_share_one_distribution():
    alpha = concentration(np.tile([60.0, 30.0, 10.0], (300, 1)), least=0.01)
    np.testing.assert_allclose(alpha / alpha.sum(), [0.6, 0.3, 0.1], rtol=0.01)
    assert alpha.sum() > 100


def test_a_value_that_nobody_has_gets_the_least():
    assert concentration(np.array([[3.0, 1.0, 0.0], [0.0, 4.0, 0.0]]), least=0.02)[2] == 0.02


def test_the_model_sums_its_aspects_and_shows_posterior_means(frame_of):
    counts = planted(300)
    users = np.repeat(np.arange(300), counts.sum(1))
    kinds = np.concatenate([np.repeat(TYPES, row) for row in counts])
    log = frame_of(users, kinds)
    model = DirichletMultinomial(aspects=["event_type", "hour"])
    model.fit(log, np.random.default_rng(0))
    types, hours = model.alpha()
    by_type = np.column_stack([np.zeros(300), counts[:, [1, 2, 0]]])  # other, cart, purchase, view
    hour = (log["timestamp"].to_numpy() // 3_600_000_000 % 24).astype(str)
    by_hour = np.zeros((300, len(hours)))
    np.add.at(by_hour, (users, 1 + np.unique(hour, return_inverse=True)[1]), 1.0)
    expected = log_probability(by_type, types) + log_probability(by_hour, hours)
    np.testing.assert_allclose(model.log_likelihood(log), expected, rtol=1e-9)
    share = (by_type + types) / (by_type.sum(1, keepdims=True) + types.sum())
    standard = (share - share.mean(0)) / share.std(0)
    np.testing.assert_allclose(model.features(log)[:, 1:4], np.clip(standard, -5, 5)[:, 1:], atol=1e-4)
