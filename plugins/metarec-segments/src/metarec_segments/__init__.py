"""Segments of users, given or found, as a plugin of metarec_sdk."""

from __future__ import annotations

import metarec_sdk
from metarec_sdk.plugins import Register


@metarec_sdk.hookimpl
def metarec_register_clusterers(register: Register) -> None:
    """Offer ``segments/gmm``, ``segments/hdbscan``, ``segments/k-anonymous`` and ``segments/svm``."""
    register(
        "gmm",
        "metarec_segments.gmm:GaussianSegments",
        summary="Overlapping segments by a Gaussian mixture",
    )
    register(
        "hdbscan",
        "metarec_segments.hdbscan:DenseSegments",
        summary="Dense regions of users; noise has no segment",
    )
    register(
        "k-anonymous",
        "metarec_segments.anonymous:AnonymousSegments",
        summary="Segments that at least k users share",
    )
    register(
        "svm",
        "metarec_segments.svm:LabelledSegments",
        summary="Given segments, extended to users without one",
    )
