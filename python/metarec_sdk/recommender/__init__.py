"""The facade: it alone puts the stages together."""

from metarec_sdk.recommender.recommender import Recommender
from metarec_sdk.recommender.reports import FitReport, UpdateReport

load = Recommender.load

__all__ = ["FitReport", "Recommender", "UpdateReport", "load"]
