"""Tests that a plugin keeps its contract: `run_checks`, and a test class for each kind of component.

A component reaches the level *loads* (found and built, without harm to anything), *conforms* (keeps the
contract of its kind, also at the edges) or *serves* (a whole recommender works with it).
"""

from metarec_sdk.testing.check import CHECKS, Check, Level
from metarec_sdk.testing.contracts import (
    BackboneContract,
    BehaviourContract,
    ClustererContract,
    ContentContract,
    FeedbackContract,
    HeadContract,
    ItemItemContract,
    MetaLearnerContract,
    RerankerContract,
    RuleContract,
)
from metarec_sdk.testing.isolation import Limits
from metarec_sdk.testing.report import Outcome, Report, Result
from metarec_sdk.testing.run import run_checks

__all__ = [
    "CHECKS",
    "BackboneContract",
    "BehaviourContract",
    "Check",
    "ClustererContract",
    "ContentContract",
    "FeedbackContract",
    "HeadContract",
    "ItemItemContract",
    "Level",
    "Limits",
    "MetaLearnerContract",
    "Outcome",
    "Report",
    "RerankerContract",
    "Result",
    "RuleContract",
    "run_checks",
]
