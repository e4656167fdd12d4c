"""Overlapping segments of users, as a plugin of metarec_sdk."""

from __future__ import annotations

import metarec_sdk
from metarec_sdk.plugins import Register


@metarec_sdk.hookimpl
def metarec_register_clusterers(register: Register) -> None:
    """Offer ``segments/gmm``."""
    register(
        "gmm",
        "metarec_segments.gmm:GaussianSegments",
        summary="Overlapping segments by a Gaussian mixture",
    )
