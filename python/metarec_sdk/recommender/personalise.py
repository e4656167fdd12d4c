"""Tasks and meta-learning on trained members."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from metarec_sdk.adapters import TaskAdapters
from metarec_sdk.errors import PluginError
from metarec_sdk.recommender.components import Components
from metarec_sdk.recommender.members import Members
from metarec_sdk.recommender.prepare import Prepared
from metarec_sdk.recommender.task_model import RandomTasks, TaskModel, sees_features
from metarec_sdk.recommender.validation import training_episodes
from metarec_sdk.tasks import OneTask
from metarec_sdk.types import Bool, Clusterer, Episodes, Float32, Memberships, MetaFit, Progress, no_progress

MOST_TASKS = 10_000
"""Tasks that there may be however few the users are."""

NOTHING = MetaFit({}, {}, [], {})
"""A `MetaFit` that changes nothing."""


def fit_tasks(components: Components, prepared: Prepared, members: Members, n_tasks: int) -> TaskModel:
    """Group the users of the log; ``n_tasks`` = 1 puts everybody at the parent."""
    table = members.head.item_matrix()
    if n_tasks == 1:
        return TaskModel(OneTask(), 1, table, 0)
    clusterer = components.clusterer(n_tasks)
    features = prepared.log.user_features
    width = features.shape[1] if features is not None and sees_features(clusterer) else 0
    tasks = TaskModel(clusterer, 0, table, width, n_tasks)
    x = tasks.inputs(prepared.log.histories, features, prepared.codes)
    clusterer.fit(x, components.rng("clusterer"))
    return replace(tasks, n_tasks=count_tasks(clusterer, x))


def count_tasks(clusterer: Clusterer, x: Float32) -> int:
    """C, one more than the largest task id in use.

    Raises `PluginError` for an id that would only take memory: there are more tasks than users then.
    """
    largest = int(clusterer.assign(x).max(initial=-1))
    if largest >= max(len(x), MOST_TASKS):
        raise PluginError(
            f"assign(x) holds task {largest:,} for {len(x):,} users; number the tasks 0 … C-1 without gaps"
        )
    return largest + 1


def stopping_users(components: Components, n_users: int) -> Bool:
    """bool[u], the tenth of the users that stops a meta-learner. What it learns on mustn't have seen them:
    on people whose events a head was fitted to, more learning always looks better."""
    held = np.zeros(n_users, bool)
    held[components.rng("stopping").permutation(n_users)[: max(1, n_users // 10)]] = True
    return held


@dataclass(frozen=True)
class MetaData:
    """Episodes to learn from and to stop by, with their memberships."""

    training: Episodes
    validation: Episodes
    training_memberships: Memberships
    validation_memberships: Memberships

    @classmethod
    def draw(
        cls, components: Components, prepared: Prepared, tasks: TaskModel | RandomTasks
    ) -> MetaData | None:
        """Episodes from the log itself, those of `stopping_users` for validation. None if too few."""
        drawn = training_episodes(prepared.log, components.rng("episodes"))
        for_validation = stopping_users(components, len(prepared.log))[drawn.users]
        training, validation = drawn.take(~for_validation), drawn.take(for_validation)
        if not len(training) or not len(validation):
            return None
        return cls(
            training,
            validation,
            memberships_of(tasks, prepared, training),
            memberships_of(tasks, prepared, validation),
        )

    def with_validation(self, validation: Episodes, memberships: Memberships) -> MetaData:
        """The same training episodes, stopped by other ones."""
        return MetaData(self.training, validation, self.training_memberships, memberships)


def memberships_of(tasks: TaskModel | RandomTasks, prepared: Prepared, episodes: Episodes) -> Memberships:
    """What each episode's support, and only its support, says about the task."""
    codes = None if prepared.codes is None else prepared.codes[episodes.users]
    return tasks.memberships(episodes.support, None, codes)


def fit_meta(
    components: Components,
    members: Members,
    tasks: TaskModel | RandomTasks,
    data: MetaData,
    start: MetaFit | None = None,
    progress: Progress = no_progress,
) -> MetaFit:
    """Run the meta-learner and put what it learned about the head in its place."""
    found = components.meta_learner().fit(
        data.training,
        data.training_memberships,
        n_tasks=tasks.n_tasks if tasks.n_tasks > 1 else 0,
        backbone=members.backbone,
        head=members.head,
        validation=(data.validation, data.validation_memberships),
        rng=components.rng("meta-learner"),
        start=start,
        progress=progress,
    )
    if found.head:
        members.head.restore(found.head)
    return found


def adapters_of(meta: MetaFit) -> TaskAdapters | None:
    """The adapters of a fit, None where none earned its place."""
    return TaskAdapters.from_state(meta.adapters) if meta.adapters else None
