"""The k-shot study: the default stack against every tuned baseline on public data sets, resumable."""

from __future__ import annotations

from metarec_sdk.evaluation.k_shot.claims import Claim
from metarec_sdk.evaluation.k_shot.plan import Plan
from metarec_sdk.evaluation.k_shot.set_result import SetResult
from metarec_sdk.evaluation.k_shot.sets import QUICK, SETS, StudySet, study_sets
from metarec_sdk.evaluation.k_shot.study import Study, run_study
from metarec_sdk.evaluation.k_shot.variants import VARIANT, VARIANTS

__all__ = [
    "QUICK",
    "SETS",
    "VARIANT",
    "VARIANTS",
    "Claim",
    "Plan",
    "SetResult",
    "Study",
    "StudySet",
    "run_study",
    "study_sets",
]
