"""The mean over the sets of a study."""

import pytest

from metarec_sdk.evaluation.k_shot.claims import Claim, MeanLift


def claim_of(name: str, lift: float, half_width: float) -> Claim:
    return Claim(name, "time", None, ("ease",), lift, lift - half_width, lift + half_width, 0.5)


def test_independent_half_widths_add_in_quadrature():
    found = MeanLift.of([claim_of("a", 0.10, 0.03), claim_of("b", -0.04, 0.04)])
    assert found.sets == ("a", "b")
    assert found.lift == pytest.approx(0.03)
    assert found.half_width == pytest.approx(0.025)
    assert str(found) == "Mean of 2 sets, each in its own order: +3.0% ± 2.5%"
