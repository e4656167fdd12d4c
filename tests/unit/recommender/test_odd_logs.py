"""Logs that are too small, have one item, or no times."""

import polars as pl
import pytest

import metarec_sdk as mr
from metarec_sdk.errors import DataError

LIGHT = {"backbone": "factors", "meta_learner": "none", "clusterer": "none"}


@pytest.mark.parametrize("users", [1, 2, 3])
def test_tiny_logs_fit_with_defaults(users):
    frame = pl.DataFrame(
        [(f"u{user}", f"i{item}", 1_700_000_000 + item) for user in range(users) for item in range(3)],
        schema=["user_id", "item_id", "timestamp"],
        orient="row",
    )
    rec = mr.Recommender(**LIGHT)
    report = rec.fit(mr.read_interactions(frame))
    assert report.notes
    assert rec.recommend(history=[["i0"]], k=5).height == 2


def test_one_item_can_not_be_ranked():
    frame = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["i", "i"], "timestamp": [1_700_000_000] * 2})
    with pytest.raises(DataError, match="at least 2"):
        mr.Recommender(**LIGHT).fit(mr.read_interactions(frame))


def test_a_log_without_times_fits(events):
    log = mr.read_interactions(events.drop("ts"), time=None, event="type")
    report = mr.Recommender(**LIGHT).fit(log)
    assert report.bands
