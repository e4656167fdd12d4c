"""Running everybody on a group of cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
import polars as pl

from metarec_sdk.data import Interactions
from metarec_sdk.evaluation.baselines import Contestant, Situation
from metarec_sdk.evaluation.cases import WHOLE, Case
from metarec_sdk.evaluation.catalogue import Translation
from metarec_sdk.evaluation.contender import Contender, Divisible
from metarec_sdk.evaluation.encoded_window import EncodedWindow
from metarec_sdk.evaluation.group import Group
from metarec_sdk.evaluation.judging import judge_ranker
from metarec_sdk.evaluation.known_tasks import TaskAware, known_tasks
from metarec_sdk.evaluation.leak_check import somebody_else
from metarec_sdk.evaluation.scores import (
    NO_SUPPORT,
    OTHER_SUPPORT,
    RECOMMENDER,
    WITHOUT,
    CaseBoard,
    Kind,
    MethodScores,
)
from metarec_sdk.evaluation.tuning import Choice, tune
from metarec_sdk.types import Histories, Memberships, Ranker

Step = Callable[[str], None]
"""Called with what has just been finished."""


@dataclass(slots=True)
class Contest:
    """The boards of a group's cases, filled method by method."""

    test: EncodedWindow
    """Training events and cases of the report."""
    boards: dict[tuple[str, str, int], CaseBoard]
    """One a case."""

    @classmethod
    def of(cls, group: Group, order: str | None = None) -> Contest:
        """Empty boards of the cases of one order, or of all."""
        test = group.test()
        test = replace(test, cases=[case for case in test.cases if order in (None, case.order)])
        boards = {
            case.key: CaseBoard(
                case.key,
                len(case.episodes),
                test.catalogue.size,
                float((test.catalogue.strata[case.episodes.query.items] < 0).mean()),
                protocol_hash,
            )
            for case, protocol_hash in group.cases
            if order in (None, case.order)
        }
        return cls(test, boards)

    def run_recommender(
        self,
        recommender: Contender,
        seed: int,
        train: Interactions,
        items: pl.DataFrame | None,
        users: pl.DataFrame | None,
        step: Step,
        *,
        leave_out: bool = False,
    ) -> None:
        """Fit a clone and rank with it, with its members, and with the supports of others.

        People whose known task stands in the users' table are ranked in it. ``leave_out`` ranks with the
        stack without each member as well.
        """
        fitted = recommender.clone(seed=seed)
        before = perf_counter()
        fitted.fit(train, items=items, users=users)
        fit_seconds = perf_counter() - before
        step(f"recommender fitted, seed {seed}")
        translation = Translation.between(self.test.catalogue, fitted.items)
        members = fitted.members()
        left_out = fitted.without_members() if leave_out and isinstance(fitted, Divisible) else {}
        for case in self.test.cases:
            tasks = known_tasks(fitted, users, case.users, case.episodes.users)
            support = case.episodes.support
            told = _memberships(fitted, translation.support(support), tasks)
            self._add(case, RECOMMENDER, "recommender", fitted, translation, fit_seconds, memberships=told)
            for name, member in members.items():
                self._add(case, f"member: {name}", "member", member, translation, 0.0, memberships=told)
            for name, rest in left_out.items():
                self._add(case, f"{WITHOUT}{name}", "ablation", rest, translation, 0.0, memberships=told)
            if case.k != WHOLE and case.k > 0 and len(case.episodes) > 1:
                self._add_ablations(case, fitted, translation, tasks)
        step(f"recommender ranked, seed {seed}")

    def run_baseline(
        self, contestant: Contestant, validation: EncodedWindow, budget: int, seed: int, step: Step
    ) -> None:
        """Tune on validation, fit the chosen settings to the test window, rank each case with its own."""
        before = perf_counter()
        choices = tune(contestant, validation, budget, seed, lambda: step(f"{contestant.name} tuned"))
        untuned = Choice(contestant.grid[0], None)
        by_settings: dict[str, list[tuple[Case, Choice]]] = {}
        for case in self.test.cases:
            choice = choices.get(case.key, untuned)
            by_settings.setdefault(repr(sorted(choice.settings.items())), []).append((case, choice))
        fitted = [
            (self.test.fitted(contestant, pairs[0][1].settings, seed), pairs)
            for pairs in by_settings.values()
        ]
        seconds = perf_counter() - before
        for baseline, pairs in fitted:
            for case, choice in pairs:
                scores = self._add(
                    case, contestant.name, "baseline", baseline, self.test.translation, seconds
                )
                scores.settings, scores.validation_ndcg = choice.settings, choice.ndcg
        step(f"{contestant.name} ranked")

    def _add(
        self,
        case: Case,
        name: str,
        kind: Kind,
        ranker: Ranker,
        translation: Translation,
        fit_seconds: float,
        support: Histories | None = None,
        memberships: Memberships | None = None,
    ) -> MethodScores:
        """Rank a case and put the scores on its board."""
        method = self.boards[case.key].method(name, kind)
        given = case.episodes.support if support is None else support
        query, catalogue = case.episodes.query, self.test.catalogue
        method.seeds.append(judge_ranker(ranker, translation, catalogue, given, query, memberships))
        method.fit_seconds += fit_seconds
        return method

    def _add_ablations(
        self, case: Case, fitted: Contender, translation: Translation, tasks: list[str | None] | None
    ) -> None:
        """The same queries from nobody's support, and from somebody else's, who brings their own task."""
        support = case.episodes.support
        # The same pairs of people in every case and for every seed.
        other = somebody_else(len(support), np.random.default_rng(0))
        self._add(case, NO_SUPPORT, "ablation", fitted, translation, 0.0, support.first(0))
        theirs = support.take(other)
        theirs_tasks = None if tasks is None else [tasks[person] for person in other]
        told = _memberships(fitted, translation.support(theirs), theirs_tasks)
        self._add(case, OTHER_SUPPORT, "ablation", fitted, translation, 0.0, theirs, told)


def _memberships(
    fitted: Contender, histories: Histories, tasks: list[str | None] | None
) -> Memberships | None:
    if tasks is None or not isinstance(fitted, TaskAware):
        return None
    return fitted.memberships(histories, tasks, "ignore")


def refusals(contestants: Sequence[Contestant], group: Group) -> dict[str, str]:
    """Why some baselines can't run on a group, by name."""
    situation = Situation(group.train.n_items, group.train.has_time)
    reasons = {contestant.name: contestant.refusal(situation) for contestant in contestants}
    return {name: reason for name, reason in reasons.items() if reason is not None}
