"""Cluster popularity finds two groups and enters them through the support."""

from __future__ import annotations

import numpy as np
import pytest

from metarec_sdk.evaluation.baselines.cluster_popularity import ClusterPopularity
from metarec_sdk.evaluation.baselines.popularity import Popularity
from metarec_sdk.types import Histories, TrainingLog


@pytest.fixture(scope="module")
def two_groups() -> TrainingLog:
    """Group A takes items 0 … 9, group B, half as large, items 10 … 19."""
    rng = np.random.default_rng(0)
    rows = [rng.permutation(10)[:6].tolist() for _ in range(60)]
    rows += [(10 + rng.permutation(10)[:6]).tolist() for _ in range(30)]
    return TrainingLog(Histories.from_lists(rows), 20)


def test_one_event_tells_the_group(two_groups: TrainingLog) -> None:
    baseline = ClusterPopularity(clusters=2, prior_events=1.0)
    baseline.fit(two_groups, np.random.default_rng(0))
    items, _ = baseline.rank(Histories.from_lists([[3], [12]]), 9).padded(9)
    assert set(items[0].tolist()) == set(range(10)) - {3}
    assert set(items[1].tolist()) == set(range(10, 20)) - {12}


def test_without_support_it_is_popularity(two_groups: TrainingLog) -> None:
    baseline, popularity = ClusterPopularity(clusters=2), Popularity()
    baseline.fit(two_groups, np.random.default_rng(0))
    popularity.fit(two_groups, np.random.default_rng(0))
    nobody = Histories.from_lists([[]])
    assert baseline.rank(nobody, 10).items.tolist() == popularity.rank(nobody, 10).items.tolist()


def test_the_same_rng_gives_the_same_bytes(two_groups: TrainingLog) -> None:
    histories = Histories.from_lists([[3], [12, 1], []])
    first, again = (ClusterPopularity(clusters=4) for _ in range(2))
    for baseline in (first, again):
        baseline.fit(two_groups, np.random.default_rng(7))
    assert first.rank(histories, 8).scores.tobytes() == again.rank(histories, 8).scores.tobytes()


def test_more_clusters_than_users_is_not_an_error() -> None:
    baseline = ClusterPopularity(clusters=64)
    baseline.fit(TrainingLog(Histories.from_lists([[0, 1], [1, 2]]), 4), np.random.default_rng(0))
    assert baseline.rank(Histories.from_lists([[0]]), 4).items.tolist()[0] == 1
