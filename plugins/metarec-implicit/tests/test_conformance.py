"""Every model keeps the contract and serves in a recommender."""

import pytest

from metarec_sdk.testing import Level, run_checks


@pytest.mark.parametrize("name", ["als", "bpr", "lmf"])
def test_it_serves(name):
    report = run_checks(f"implicit/{name}", isolated=False)
    assert report.level is Level.SERVES, report
