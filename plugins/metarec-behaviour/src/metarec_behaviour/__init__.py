"""What people do, as probability models: a plugin of metarec_sdk."""

from __future__ import annotations

import metarec_sdk
from metarec_sdk.plugins import Register


@metarec_sdk.hookimpl
def metarec_register_behaviour_models(register: Register) -> None:
    """Offer ``behaviour/multinomial``, ``behaviour/hmm`` and ``behaviour/bayesian-network``."""
    register(
        "multinomial",
        "metarec_behaviour.multinomial:DirichletMultinomial",
        summary="Personal shares of event types and hours, with a Dirichlet prior",
    )
    register(
        "hmm",
        "metarec_behaviour.hmm:HiddenMarkov",
        summary="Hidden states behind the sequence of a person's events",
    )
    register(
        "bayesian-network",
        "metarec_behaviour.network:BayesianNetwork",
        summary="Which values of an event's type, time and value go together",
    )
