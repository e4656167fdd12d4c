"""Every segment keeps the contract and serves in a recommender."""

import pytest

from metarec_sdk.testing import Level, run_checks


# the sample has 48 people, fewer than the smallest group of the default
@pytest.mark.parametrize(
    ("name", "params"),
    [("gmm", {}), ("hdbscan", {}), ("k-anonymous", {"k": 8}), ("svm", {"min_size": 8})],
)
def test_it_serves(name, params):
    report = run_checks(f"segments/{name}", params=params, isolated=False)
    assert report.level is Level.SERVES, report
