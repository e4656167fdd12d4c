"""Tasks: groups of users that share an adapter, known from a column or found by clustering.

A task id is ``0 … C-1``; -1 means "no task" and is served by the parent. Which number of tasks is worth
having is decided by `choose_n_tasks` on validation losses, never assumed.
"""

from metarec_sdk.tasks.choice import Choice, choose_n_tasks
from metarec_sdk.tasks.column import ColumnTasks
from metarec_sdk.tasks.kmeans import KMeansTasks
from metarec_sdk.tasks.matching import match_members, match_tasks
from metarec_sdk.tasks.none import OneTask
from metarec_sdk.tasks.reassign import memberships_from_likelihood, reassign

__all__ = [
    "Choice",
    "ColumnTasks",
    "KMeansTasks",
    "OneTask",
    "choose_n_tasks",
    "match_members",
    "match_tasks",
    "memberships_from_likelihood",
    "reassign",
]
