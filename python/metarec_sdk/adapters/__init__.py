"""Task adapters and the meta-learners that learn them, with head priors, from episodes.

`TaskAdapters` and `NoMetaLearning` need NumPy only; the meta-learners load torch when they fit. Adapters for
any torch model are in `metarec_sdk.adapters.attach`.
"""

from metarec_sdk.adapters.anil import Anil
from metarec_sdk.adapters.closed_form import ClosedForm
from metarec_sdk.adapters.fomaml import Fomaml
from metarec_sdk.adapters.maml import Maml
from metarec_sdk.adapters.none import NoMetaLearning
from metarec_sdk.adapters.reptile import Reptile
from metarec_sdk.adapters.task_adapter import TaskAdapters

__all__ = ["Anil", "ClosedForm", "Fomaml", "Maml", "NoMetaLearning", "Reptile", "TaskAdapters"]
