"""Every model keeps the contract and serves in a recommender."""

import pytest

from metarec_sdk.testing import Level, run_checks


@pytest.mark.parametrize("name", ["tree", "boosting", "dwell", "delayed-conversion", "position-clicks"])
def test_it_serves(name):
    report = run_checks(f"feedback/{name}", isolated=False)
    assert report.level is Level.SERVES, report
