"""The models of the implicit library as backbones of metarec_sdk."""

from __future__ import annotations

import metarec_sdk
from metarec_sdk.plugins import Register


@metarec_sdk.hookimpl
def metarec_register_backbones(register: Register) -> None:
    """Offer ``implicit/als``, ``implicit/bpr`` and ``implicit/lmf``."""
    register("als", "metarec_implicit.models:Als", summary="Alternating least squares of implicit")
    register("bpr", "metarec_implicit.models:Bpr", summary="Bayesian personalised ranking of implicit")
    register("lmf", "metarec_implicit.models:Lmf", summary="Logistic matrix factorisation of implicit")
