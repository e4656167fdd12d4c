"""Logs with planted answers."""

import numpy as np
import polars as pl
import pytest

from metarec_feedback.delay import DelayedConversion
from metarec_feedback.dwell import DwellFeedback
from metarec_feedback.position import PositionClicks
from metarec_feedback.trees import BoostedFeedback, TreeFeedback

DAY = 86_400_000_000


@pytest.fixture
def mixed():
    """400 events of every kind that the models look at."""
    rng = np.random.default_rng(0)
    n = 400
    kind = rng.choice(["click", "view", "purchase", "dwell"], n)
    return pl.DataFrame(
        {
            "user_id": rng.integers(0, 20, n),
            "item_id": rng.integers(0, 15, n),
            "event_type": kind,
            "value": np.where(kind == "dwell", rng.exponential(40, n), np.nan),
            "timestamp": np.sort(rng.integers(0, 30 * DAY, n)),
            "position": rng.integers(0, 8, n),
            "propensity": rng.uniform(0.05, 1, n),
            "label": rng.normal(1.0, 1.0, n),
        }
    ).with_columns(pl.col("value").fill_nan(None))


@pytest.fixture(params=["tree", "boosting", "dwell", "delayed-conversion", "position-clicks"])
def build(request):
    """Makes a new model of each kind."""
    return {
        "tree": lambda: TreeFeedback(min_events=10),
        "boosting": lambda: BoostedFeedback(min_events=10, trees=20),
        "dwell": DwellFeedback,
        "delayed-conversion": lambda: DelayedConversion(columns=["position"]),
        "position-clicks": lambda: PositionClicks(positions=5),
    }[request.param]
