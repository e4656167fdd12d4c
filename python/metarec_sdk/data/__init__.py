"""Reading, cleaning, splitting and encoding logs."""

from __future__ import annotations

from metarec_sdk.data.cleaning_report import CleaningReport, RuleCount
from metarec_sdk.data.encoding import encode
from metarec_sdk.data.episodes import episodes, first_visits
from metarec_sdk.data.interactions import Interactions
from metarec_sdk.data.reading import read_interactions
from metarec_sdk.data.vocabulary import Vocabulary

__all__ = [
    "CleaningReport",
    "Interactions",
    "RuleCount",
    "Vocabulary",
    "encode",
    "episodes",
    "first_visits",
    "read_interactions",
]
