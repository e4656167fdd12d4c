"""Reading, cleaning, splitting and encoding logs. `Stability: provisional`."""

from __future__ import annotations

from metarec_sdk.data import datasets, splits
from metarec_sdk.data.cleaning import clean
from metarec_sdk.data.cleaning_report import CleaningReport, RuleCount
from metarec_sdk.data.encoding import encode
from metarec_sdk.data.episodes import episodes, first_visits
from metarec_sdk.data.features import behaviour_features
from metarec_sdk.data.interactions import Interactions
from metarec_sdk.data.reading import read_interactions
from metarec_sdk.data.splits import check_split
from metarec_sdk.data.standardise import StandardFeatures, normalise_values, standardise
from metarec_sdk.data.vocabulary import Vocabulary

__all__ = [
    "CleaningReport",
    "Interactions",
    "RuleCount",
    "StandardFeatures",
    "Vocabulary",
    "behaviour_features",
    "check_split",
    "clean",
    "datasets",
    "encode",
    "episodes",
    "first_visits",
    "normalise_values",
    "read_interactions",
    "splits",
    "standardise",
]
