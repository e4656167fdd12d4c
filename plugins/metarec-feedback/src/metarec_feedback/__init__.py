"""Feedback models: what an event says about what its user wants."""

from __future__ import annotations

import metarec_sdk
from metarec_sdk.plugins import Register


@metarec_sdk.hookimpl
def metarec_register_feedback_models(register: Register) -> None:
    """Offer ``feedback/tree``, ``boosting``, ``dwell``, ``delayed-conversion`` and ``position-clicks``."""
    register("tree", "metarec_feedback.trees:TreeFeedback", summary="A decision tree on a long-term outcome")
    register(
        "boosting",
        "metarec_feedback.trees:BoostedFeedback",
        summary="Gradient-boosted trees on a long-term outcome",
    )
    register(
        "dwell", "metarec_feedback.dwell:DwellFeedback", summary="Dwell time against the item's usual one"
    )
    register(
        "delayed-conversion",
        "metarec_feedback.delay:DelayedConversion",
        summary="Clicks by the purchase that may still come",
    )
    register(
        "position-clicks",
        "metarec_feedback.position:PositionClicks",
        summary="Clicks weighed by how seldom their position is looked at",
    )
