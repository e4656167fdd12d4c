"""Every reranker and rule keeps the contract and serves in a recommender."""

import pytest

from metarec_sdk.testing import Level, run_checks


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("calibrated", {}),
        ("exposure", {}),
        ("freshness", {}),
        ("mmr", {}),
        ("limits", {"at_most": {"genres": 2, "category": 3}, "blocked": {"provider": ["p3"]}}),
    ],
)
def test_it_serves(name, params):
    report = run_checks(f"rerank/{name}", params=params, isolated=False)
    assert report.level is Level.SERVES, report
