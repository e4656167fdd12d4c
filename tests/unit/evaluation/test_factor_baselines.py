"""iALS fold-in and the empirical-Bayes head, against their formulas and on two clear groups."""

from __future__ import annotations

import numpy as np
import pytest

from metarec_sdk.evaluation.baselines import Contestant
from metarec_sdk.evaluation.baselines.ials import IALS, ImplicitFactors
from metarec_sdk.evaluation.baselines.natpar import NATPAR, EmpiricalBayes
from metarec_sdk.evaluation.baselines.popularity import Popularity
from metarec_sdk.heads.ials import Ials
from metarec_sdk.heads.natpar import Natpar
from metarec_sdk.types import Histories, TrainingLog


@pytest.fixture(scope="module")
def two_groups() -> TrainingLog:
    """Group A takes items 0 … 9, group B, half as large, items 10 … 19."""
    rng = np.random.default_rng(0)
    rows = [rng.permutation(10)[:6].tolist() for _ in range(60)]
    rows += [(10 + rng.permutation(10)[:6]).tolist() for _ in range(30)]
    return TrainingLog(Histories.from_lists(rows), 20)


def test_fold_in_solves_the_ials_objective(two_groups: TrainingLog) -> None:
    baseline = ImplicitFactors(factors=4, regularization=0.02, unobserved_weight=0.2, iterations=3)
    baseline.fit(two_groups, np.random.default_rng(5))
    training = Ials(factors=4, regularization=0.02, unobserved_weight=0.2, iterations=3)
    factors = training.train(two_groups, np.random.default_rng(5))[1].astype(np.float64)

    chosen = factors[[3, 7]]
    strength = 0.02 * (2 + 0.2 * 20)  # λ (Σω + α₀ n)
    left = 0.2 * factors.T @ factors + chosen.T @ chosen + strength * np.eye(4)
    expected = factors @ np.linalg.solve(left, chosen.sum(0))

    lists = baseline.rank(Histories.from_lists([[3, 7]]), 20)
    assert len(lists.items) == 18
    np.testing.assert_allclose(lists.scores, expected[lists.items], atol=1e-4)


def test_the_head_scores_posterior_mean_and_popularity(two_groups: TrainingLog) -> None:
    baseline = EmpiricalBayes(prior_scale=0.5, popularity=0.7, factors=4)
    baseline.fit(two_groups, np.random.default_rng(5))
    head = Natpar(factors=4, iterations=10, regularization=0.01, unobserved_weight=0.3, prior_scale=0.5)
    head.fit(two_groups, np.random.default_rng(5))
    histories = Histories.from_lists([[3, 7, 1]])
    counts = np.bincount(two_groups.histories.items, minlength=20) + 1.0
    expected = head.item_matrix() @ head.query(histories)[0] + 0.7 * np.log(counts / counts.sum())
    lists = baseline.rank(histories, 20)
    np.testing.assert_allclose(lists.scores, expected[lists.items], atol=1e-5)


@pytest.mark.parametrize(
    ("contestant", "settings"),
    [(IALS, {"factors": 4}), (NATPAR, {"factors": 4, "prior_scale": 1.0, "popularity": 0.3})],
    ids=["ials", "natpar"],
)
def test_one_event_tells_the_group_and_none_is_popularity(
    contestant: Contestant, settings: dict[str, float], two_groups: TrainingLog
) -> None:
    first, again, popularity = contestant.build(**settings), contestant.build(**settings), Popularity()
    for baseline in (first, again, popularity):
        baseline.fit(two_groups, np.random.default_rng(1))
    histories = Histories.from_lists([[3], [12], []])
    lists = first.rank(histories, 9)
    items, _ = lists.padded(9)
    assert set(items[0].tolist()) == set(range(10)) - {3}
    assert set(items[1].tolist()) == set(range(10, 20)) - {12}
    assert items[2].tolist() == popularity.rank(histories, 9).padded(9)[0][2].tolist()
    assert lists.scores.tobytes() == again.rank(histories, 9).scores.tobytes()
