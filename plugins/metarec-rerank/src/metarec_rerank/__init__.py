"""Rerankers and hard rules: what else a list should be, beside relevant."""

from __future__ import annotations

import metarec_sdk
from metarec_sdk.plugins import Register


@metarec_sdk.hookimpl
def metarec_register_rerankers(register: Register) -> None:
    """Offer ``rerank/calibrated``, ``rerank/exposure``, ``rerank/freshness`` and ``rerank/mmr``."""
    register(
        "calibrated",
        "metarec_rerank.calibrated:Calibrated",
        summary="As much of each genre as in the history",
    )
    register("exposure", "metarec_rerank.exposure:Exposure", summary="A fair share to each group")
    register("freshness", "metarec_rerank.freshness:Freshness", summary="Newer items further up")
    register("mmr", "metarec_rerank.mmr:MMR", summary="Items unlike those above them, by their values")


@metarec_sdk.hookimpl
def metarec_register_rules(register: Register) -> None:
    """Offer ``rerank/limits``."""
    register("limits", "metarec_rerank.limits:Limits", summary="At most so many of a value; blocked values")
