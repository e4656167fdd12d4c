"""Full-ranking evaluation: protocols, tuned baselines, paired intervals. `Stability: provisional`."""

from __future__ import annotations

from metarec_sdk.evaluation.baselines import CONTESTANTS, Contestant
from metarec_sdk.evaluation.contender import Contender
from metarec_sdk.evaluation.evaluation_report import EvaluationReport
from metarec_sdk.evaluation.evaluator import evaluate
from metarec_sdk.evaluation.protocols import ColdStart, LeaveOneOut, Protocol, Warm

__all__ = [
    "CONTESTANTS",
    "ColdStart",
    "Contender",
    "Contestant",
    "EvaluationReport",
    "LeaveOneOut",
    "Protocol",
    "Warm",
    "evaluate",
]
