"""Task adapters and the meta-learners that learn them, with head priors, from episodes.

`TaskAdapters` and `NoMetaLearning` need NumPy only; `ClosedForm` and `Reptile` load torch when they fit.
"""

from metarec_sdk.adapters.closed_form import ClosedForm
from metarec_sdk.adapters.none import NoMetaLearning
from metarec_sdk.adapters.reptile import Reptile
from metarec_sdk.adapters.task_adapter import TaskAdapters

__all__ = ["ClosedForm", "NoMetaLearning", "Reptile", "TaskAdapters"]
