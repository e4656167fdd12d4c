"""Fitting a stack: decide on an earlier window of the log, then train on all of it.

1. The members are trained on the log without its last window and without held-out users.
2. On what was left out, decide: popularity forms, the item-item variant, the number of tasks, gates, guard
   and what somebody without history sees.
3. The members are trained again on the whole log; the decisions stand.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from metarec_sdk.data import Interactions, Vocabulary
from metarec_sdk.data.splits import cold_start, held_out_users
from metarec_sdk.errors import DataError
from metarec_sdk.recommender.cold_start import ColdStart, segment_bias
from metarec_sdk.recommender.components import Components
from metarec_sdk.recommender.decisions import Decisions, Judge, undecided
from metarec_sdk.recommender.members import Members
from metarec_sdk.recommender.order import order_of
from metarec_sdk.recommender.personalise import (
    NOTHING,
    MetaData,
    adapters_of,
    fit_meta,
    fit_tasks,
    stopping_users,
)
from metarec_sdk.recommender.prepare import Prepared, prepare
from metarec_sdk.recommender.progress import Step
from metarec_sdk.recommender.reports import FitReport
from metarec_sdk.recommender.stack import Stack
from metarec_sdk.recommender.task_model import TaskModel
from metarec_sdk.recommender.validation import validation_episodes
from metarec_sdk.types import FeedbackModel, Float32, MetaFit

MIN_PEOPLE = 10
"""Held-out people below which nothing is decided on them."""

_PEOPLE = 300
_LEAST_SHARE, _MOST_SHARE = 0.1, 0.3
"""Held-out people who can tell stacks apart, and the share of a log without times that they may be: a tenth
of a small one decides by chance. Where there are times, people who are new in the last window decide: those
who began long ago began with other items."""


def held_out_parts(
    log: Interactions, rng: np.random.Generator
) -> tuple[Interactions, Interactions, Interactions]:
    """(inner training log, whole logs of held-out users, later events of the others).

    Without times there is no later: some users are held out and that is all.
    Raises `DataError` where the log is too small to be parted.
    """
    if log.has_time:
        split = cold_start(log, validation=False, rng=rng)
        return split.train, split.cold, split.warm
    share = float(np.clip(_PEOPLE / max(log.frame["user_id"].n_unique(), 1), _LEAST_SHARE, _MOST_SHARE))
    by_user = held_out_users(log, fraction=share, rng=rng)
    return by_user.train, by_user.test, log.replaced(log.frame.head(0))


@dataclass
class Fitter:
    """One fit of one log."""

    components: Components
    log: Interactions
    items: Vocabulary
    user_table: pl.DataFrame | None
    content: Float32 | None
    """f32[n, c], content vectors, where a member reads them."""
    feedback: FeedbackModel
    step: Step
    report: FitReport

    def run(self) -> tuple[Stack, Prepared]:
        """Decide, train, assemble."""
        column = self.components.clusterer(1).column
        self.report.order, why = order_of(self.log, self.components.recipe.order)
        self.report.notes.append(why)
        prepared = self._prepare(self.log, column)
        decisions = self._decide(column, prepared.categories)
        with self._timed("training"):
            head_users = None
            if decisions.meta.head or decisions.meta.adapters:
                head_users = ~stopping_users(self.components, len(prepared.log))
            members = Members.fit(
                self.components, prepared, self.step, decisions.variants, head_users=head_users
            )
            tasks = fit_tasks(self.components, prepared, members, decisions.n_tasks)
            meta = self._learn_again(prepared, members, tasks, decisions.meta)
        self.report.structure = meta.structure
        of_user = tasks.memberships(prepared.log.histories, prepared.log.user_features, prepared.codes).tasks[
            :, 0
        ]
        self.report.n_tasks = max(tasks.n_tasks, 1)
        self.report.task_sizes = np.bincount(of_user[of_user >= 0], minlength=tasks.n_tasks).tolist()
        popularity = members.popularity
        bias = np.zeros((0, len(self.items)), np.float32)
        if prepared.codes is not None and tasks.n_tasks > 1:
            bias = segment_bias(prepared.log.histories, of_user, tasks.n_tasks, popularity)
        width = members.backbone.item_matrix().shape[1] + members.head.item_matrix().shape[1]
        stack = Stack(
            backbone=members.backbone,
            head=members.head,
            item_item=members.chosen_item_item(decisions.variants),
            mixture=members.mixture,
            adapters=adapters_of(meta),
            tasks=tasks,
            gates=decisions.gates_for(meta),
            popularity=popularity,
            form=decisions.form,
            cold=ColdStart.of(decisions.cold, popularity, bias),
            history_limit=self.components.recipe.history_limit,
            new_items=np.zeros((0, width), np.float32),
        )
        return stack, prepared

    def _decide(self, column: str | None, categories: list[str]) -> Decisions:
        rng = self.components.rng("validation")
        try:
            train, new_users, later_events = held_out_parts(self.log, rng)
        except DataError as error:
            self.report.notes.append(f"nothing was held out, so defaults are used: {error}")
            return undecided()
        with self._timed("validation: members"):
            inner = self._prepare(train, column, categories)
            cold = self._prepare(new_users, column, categories)
            later = self._prepare(later_events, column, categories)
            known = inner.users.encode(later.users.decode(np.arange(len(later.users))))
            drawn = validation_episodes(
                cold.log, inner.log.histories.take(known), later.log.histories, len(self.items), rng
            )
            people = 0 if drawn is None else len(np.unique(drawn.people))
            if drawn is None or people < MIN_PEOPLE:
                self.report.notes.append(
                    f"{people} people can be held out and {MIN_PEOPLE} are needed to decide anything, "
                    f"so defaults are used"
                )
                return undecided()
            members = Members.fit(self.components, inner, self.step)
        with self._timed("validation: decisions"):
            judge = Judge(
                self.components, inner, members, drawn, cold.codes, later.codes, self.step, self.report
            )
            return judge.decide()

    def _learn_again(
        self, prepared: Prepared, members: Members, tasks: TaskModel, decided: MetaFit
    ) -> MetaFit:
        """Meta-learn on the final members what proved its worth on validation, and nothing else."""
        if not decided.adapters and not decided.head:
            return NOTHING
        data = MetaData.draw(self.components, prepared, tasks)
        if data is None:
            return NOTHING
        untouched = members.head.state()
        with self.step("final meta-learning") as progress:
            found = fit_meta(self.components, members, tasks, data, None, progress)
        if found.head and not decided.head:
            members.head.restore(untouched)
            found = replace(found, head={})
        return found if decided.adapters else replace(found, adapters={}, structure=[])

    def _prepare(
        self, log: Interactions, column: str | None, categories: list[str] | None = None
    ) -> Prepared:
        components = self.components
        prepared = prepare(
            log,
            self.items,
            self.feedback,
            components.behaviour(),
            components.rng("behaviour"),
            column,
            self.user_table,
            categories,
            ordered=self.report.order == "time",
        )
        return prepared.with_content(self.content)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.report.seconds[part] = time.perf_counter() - started
