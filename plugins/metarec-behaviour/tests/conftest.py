"""Logs with planted behaviour."""

import numpy as np
import polars as pl
import pytest

from metarec_behaviour.hmm import HiddenMarkov
from metarec_behaviour.multinomial import DirichletMultinomial
from metarec_behaviour.network import BayesianNetwork

SECOND = 1_000_000
DAY = 86_400 * SECOND


@pytest.fixture
def frame_of():
    """Makes canonical columns of users and event types, one event a minute."""

    def make(users, kinds, **columns):
        n = len(users)
        return pl.DataFrame(
            {
                "user_id": users,
                "item_id": [f"i{row % 7}" for row in range(n)],
                "timestamp": 1_700_000_000 * SECOND + np.arange(n) * 60 * SECOND,
                "event_type": kinds,
                "value": pl.Series([None] * n, dtype=pl.Float64),
                "row": np.arange(n),
                **columns,
            }
        )

    return make


@pytest.fixture
def mixed():
    """600 events of 40 people with types, times and values, not sorted by user."""
    rng = np.random.default_rng(0)
    n = 600
    kinds = rng.choice(["view", "cart", "purchase"], n, p=[0.7, 0.2, 0.1])
    return pl.DataFrame(
        {
            "user_id": rng.integers(0, 40, n),
            "item_id": rng.integers(0, 15, n),
            "timestamp": 1_700_000_000 * SECOND + np.sort(rng.integers(0, 30 * DAY, n)),
            "event_type": kinds,
            "value": np.where(kinds == "view", rng.exponential(40, n), np.nan),
            "row": np.arange(n),
            "market": pl.Series(rng.choice(["be", "nl", ""], n)).replace({"": None}),
        }
    ).with_columns(pl.col("value").fill_nan(None))


@pytest.fixture(params=["multinomial", "hmm", "bayesian-network"])
def build(request):
    """Makes a new model of each kind from the aspects."""
    return {
        "multinomial": DirichletMultinomial,
        "hmm": lambda **given: HiddenMarkov(n_states=3, iterations=10, **given),
        "bayesian-network": BayesianNetwork,
    }[request.param]
