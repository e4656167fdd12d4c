"""What stands under the facade: one published generation being served, and the swap to the next."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from metarec_sdk.data import Interactions, Vocabulary
from metarec_sdk.errors import NotFittedError
from metarec_sdk.feedback import Event
from metarec_sdk.feedback.sqlite_log import IdKind
from metarec_sdk.plugins import PluginManager, RankRequest
from metarec_sdk.recommender.clocks import fit_generation, load_generation, update_generation
from metarec_sdk.recommender.components import Components
from metarec_sdk.recommender.home import Home
from metarec_sdk.recommender.observing import Observing
from metarec_sdk.recommender.progress import steps
from metarec_sdk.recommender.recipe import Recipe
from metarec_sdk.recommender.reports import FitReport, UpdateReport
from metarec_sdk.recommender.serving import Served, Unknown
from metarec_sdk.types import FeedbackModel, Float32, Histories, Int32, Memberships, TopK

_KINDS: dict[type, IdKind] = {pl.Int64: "integer", pl.String: "string"}


class Engine:
    """State of a `Recommender`; everything that changes is swapped in as a whole."""

    def __init__(
        self,
        recipe: Recipe,
        plugins: PluginManager,
        home: str | Path | None,
        progress: bool | None,
        distributions: Mapping[str, str] | None = None,
    ) -> None:
        self._components = Components(recipe, plugins, distributions or {})
        self._progress = progress
        self._home_path = home
        self._home: Home | None = None
        self._live: Observing | None = None

    @property
    def _serving(self) -> Observing:
        if self._live is None:
            raise NotFittedError("nothing is fitted yet; call fit(log) or metarec_sdk.load(path) first")
        return self._live

    @property
    def _now(self) -> Served:
        return self._serving.served

    @property
    def _folder(self) -> Home:
        if self._home is None:
            self._home = Home(self._home_path)
        return self._home

    def _fit(
        self, log: Interactions, items: pl.DataFrame | None, users: pl.DataFrame | None, through: int
    ) -> FitReport:
        with steps(self._progress) as step:
            served, feedback, report = fit_generation(
                self._components, self._folder, log, items, users, through, step
            )
        self._serve(served, feedback)
        self._components.plugins.fit_finished(report)
        return report

    def _update(self) -> UpdateReport:
        with steps(self._progress) as step:
            served, feedback, report = update_generation(
                self._components, self._folder, self._now, self._serving.feedback, step
            )
        self._serve(served, feedback)
        self._components.plugins.fit_finished(report)
        return report

    def _load(self, generation: str | None) -> None:
        self._serve(*load_generation(self._components, self._folder, generation))

    def _serve(self, served: Served, feedback: FeedbackModel) -> None:
        """Swap a generation in, with everything that was logged after it was trained."""
        users, items = (_KINDS[type(ids.dtype)] for ids in (served.users.vocabulary.ids, served.items.ids))
        self._folder.id_kinds = users, items
        live = Observing(self._folder, served, feedback)
        live.catch_up()
        self._live = live
        live.catch_up()  # what was observed on the old generation meanwhile

    def _observe(self, events: Sequence[Event]) -> list[int]:
        numbers = self._serving.store(events)
        self._serving.catch_up()
        return numbers

    def _ranked(
        self, served: Served, histories: Histories, k: int, memberships: Memberships | None, **filters: Any
    ) -> TopK:
        started = time.perf_counter_ns()
        result = served.shaping.rank(
            lambda depth: served.stack.rank(histories, depth, memberships, **filters),
            histories,
            k,
            len(served.items),
        )
        if self._components.plugins.observes_batches:
            elapsed = time.perf_counter_ns() - started
            request = RankRequest(histories, k, served.generation)
            self._components.plugins.batch_ranked(request, result, elapsed)
        return result

    @property
    def plugins(self) -> PluginManager:
        """The plugins of this recommender alone; their records tell what failed while serving."""
        return self._components.plugins

    @property
    def recipe(self) -> Recipe:
        """What this recommender is made of."""
        return self._components.recipe

    @property
    def items(self) -> Vocabulary:
        """The catalogue: external item id by index."""
        return self._now.items

    @property
    def users(self) -> list[Any]:
        """Ids of all known users, those who came since the last generation in the last places."""
        users = self._now.users
        return [*users.vocabulary.ids, *(user for user in users.since() if user not in users.vocabulary)]

    @property
    def task_column(self) -> str | None:
        """The column that tasks are known from; None where they are found."""
        return self._components.clusterer(1).column

    def memberships(
        self, histories: Histories, task: Sequence[str | None] | None = None, unknown: Unknown = "raise"
    ) -> Memberships:
        """The array interface to tasks, for `rank`: memberships of b histories over the indices of `items`.

        ``task`` holds the known task of each, None where it isn't known; those that training had nobody of
        raise `UnknownIdError`, or are served by the parent with ``unknown="ignore"``.
        """
        served = self._now
        codes = served.codes(task, len(histories), unknown)
        return served.stack.memberships(served.stack.usable(histories), None, codes)

    @property
    def generation(self) -> str:
        """Id of the generation that serves."""
        return self._now.generation

    def training_range(self) -> tuple[int, int]:
        """First and last timestamp of the log that was trained on, microseconds since 1970 UTC."""
        training = self._folder.store.manifest(self.generation).training
        return training["first_timestamp"], training["last_timestamp"]

    def user_vectors(self, users: Sequence[Any]) -> tuple[Float32, Int32]:
        """(f32[b, m], i32[b]): each known user's vector in the head's space, and the task of most weight.

        Task ids are for inspection inside the process; sequences of them identify people, so don't export
        them. Raises `UnknownIdError` for an unknown user.
        """
        served, vectors, tasks = self._now, [], []
        for histories, _, memberships in served.known_users(list(users)):
            vectors.append(served.stack.head.query(served.stack.usable(histories), memberships))
            tasks.append(memberships.tasks[:, 0])
        return np.concatenate(vectors), np.concatenate(tasks)
