"""What is decided on validation before the final training: members, tasks, gates and the cold start."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.recommender.cold_start import BY_SEGMENT, SEGMENT, START, segment_bias
from metarec_sdk.recommender.components import Components
from metarec_sdk.recommender.corrections import corrected
from metarec_sdk.recommender.episode_scores import (
    CLEAR_LEAD,
    MEMBERS,
    EpisodeScores,
    by_person,
    mean_and_error,
)
from metarec_sdk.recommender.gates import Gates, cross_entropy, fit_gates
from metarec_sdk.recommender.guard import band_results
from metarec_sdk.recommender.members import Members
from metarec_sdk.recommender.personalise import (
    NOTHING,
    MetaData,
    adapters_of,
    fit_meta,
    fit_tasks,
)
from metarec_sdk.recommender.popularity import BANDS
from metarec_sdk.recommender.prepare import Prepared
from metarec_sdk.recommender.progress import Step
from metarec_sdk.recommender.reports import FitReport, TaskCandidate
from metarec_sdk.recommender.task_model import RandomTasks, TaskModel
from metarec_sdk.recommender.validation import ValidationEpisodes
from metarec_sdk.recommender.worth import learned_worth, worth_of
from metarec_sdk.tasks import choose_n_tasks
from metarec_sdk.types import Int32, MetaFit, State


@dataclass(frozen=True)
class Decisions:
    """Everything that the final training takes over."""

    n_tasks: int
    meta: MetaFit
    """What the meta-learner found at that number of tasks; its parts tell what to learn again."""
    variants: list[str]
    """Of the item-item member, by band; empty for the first one there is."""
    form: Int32
    """i32[bands], popularity form by band."""
    gates: Gates
    cold: str
    plain_gates: Gates | None = None
    """Gates for members that learned nothing, where the others are for members that did."""

    def gates_for(self, final: MetaFit) -> Gates:
        """The gates that fit what the final members learned: people who stop the final learning may refuse
        what those before them accepted, and a plain head at a learned one's gate is heard too much."""
        refused = self.meta.head and not final.head
        return self.plain_gates if refused and self.plain_gates is not None else self.gates


def undecided() -> Decisions:
    """Sane defaults where nothing can be validated: members weighted alike, one task, all-time popularity."""
    n = len(MEMBERS)
    gates = Gates(
        np.zeros((len(BANDS), n)), np.zeros(n), np.ones((len(BANDS), n)), np.full(len(BANDS), -1, np.int32)
    )
    return Decisions(1, NOTHING, [], np.zeros(len(BANDS), np.int32), gates, "all-time")


@dataclass
class Judge:
    """Members trained on the inner log, and the episodes that judge them."""

    components: Components
    inner: Prepared
    members: Members
    drawn: ValidationEpisodes
    cold_codes: Int32 | None
    """i32, the known task of each row of the cold batch; None where tasks don't come from a column."""
    known_codes: Int32 | None
    """i32, the same for the known batch."""
    step: Step
    report: FitReport
    _form: Int32 = field(init=False)
    _variants: list[str] = field(init=False)
    _plain_gates: Gates | None = field(init=False, default=None)

    def decide(self) -> Decisions:
        """Take all decisions, in an order where each rests on the earlier ones."""
        self._form = self._popularity_forms()
        self._variants = self.report.item_item_choice = self._item_item_variants()
        tasks, meta, scores, gates = self._tasks()
        self.report.correction, gates = corrected(gates, scores)
        self.report.bands = band_results(gates, scores)
        self.report.members = worth_of(gates, scores)
        cold = self.report.cold_choice = self._cold_start(tasks)
        return Decisions(tasks.requested, meta, self._variants, self._form, gates, cold, self._plain_gates)

    @property
    def _codes(self) -> Int32 | None:
        """i32[E], the known task of each few-shot episode."""
        if self.cold_codes is None or self.known_codes is None:
            return None
        users, n_new = self.drawn.few_shot.users, self.drawn.n_new
        return np.concatenate([self.cold_codes[users[:n_new]], self.known_codes[users[n_new:]]])

    def _blank(self) -> EpisodeScores:
        few = self.drawn.few_shot
        return EpisodeScores([], few.support, few.query, self.drawn.people)

    def _popularity_forms(self) -> Int32:
        """The best form for each band; a band without episodes takes its neighbour's."""
        blank = self._blank()
        quality = np.stack(
            [blank.quality_alone(column[None]) for column in self.members.popularity.table.T]
        )  # [forms, E]
        form = np.zeros(len(BANDS), np.int32)
        for band in range(len(BANDS)):
            inside = blank.bands == band
            if inside.any():
                form[band] = int(np.argmax(quality[:, inside].mean(1)))
            elif band:
                form[band] = form[band - 1]
        return form

    def _item_item_variants(self) -> list[str]:
        """The variant that lists are best with, heard among the other members by gates of its own: what leads
        by itself may say what they say already. A band of lengths has another where that leads there by
        `CLEAR_LEAD` standard errors."""
        names, support = list(self.members.item_item), self.drawn.few_shot.support
        self._variants = names[:1] * len(BANDS)
        scores = self._scores(fit_tasks(self.components, self.inner, self.members, 1), NOTHING)
        quality = {}
        for name in names:
            alone = self.members.chosen_item_item([name] * len(BANDS))
            scores.members[MEMBERS.index("item-item")] = self.members.boost_scores(alone, support)
            quality[name] = scores.quality(fit_gates(scores).at(support.lengths))
        self.report.item_item = {name: float(values.mean()) for name, values in quality.items()}
        best = max(quality, key=lambda name: self.report.item_item[name])
        chosen = [best] * len(BANDS)
        for band in np.unique(scores.bands):
            inside = scores.bands == band
            leader = max(quality, key=lambda name: float(quality[name][inside].mean()))
            lead = by_person((quality[leader] - quality[best])[inside], scores.users[inside])
            gain, error = mean_and_error(lead)
            if gain > CLEAR_LEAD * error:
                chosen[band] = leader
        return chosen

    def _tasks(self) -> tuple[TaskModel, MetaFit, EpisodeScores, Gates]:
        """One task unless more are better by a standard error, in likelihood and in lists."""
        untouched = self.members.head.state()
        losses: dict[int, NDArray[np.float64]] = {}
        control: dict[int, NDArray[np.float64]] = {}
        found: dict[int, tuple[TaskModel, MetaFit, Gates]] = {}
        start: MetaFit | None = None
        wanted = self.components.recipe.min_tasks
        for n_tasks in (1, *self.components.task_candidates()):
            self.members.head.restore(untouched)
            tasks = fit_tasks(self.components, self.inner, self.members, n_tasks)
            if n_tasks != 1 and tasks.n_tasks <= 1:
                self.report.notes.append("no group of users is large enough for a task of its own")
                continue
            meta = self._learn(tasks, start)
            if n_tasks == 1:
                meta = self._proved(tasks, meta, untouched)
            start = start or meta
            scores, gates, quality = self._stack(tasks, meta)
            loss = by_person(cross_entropy(scores, gates), scores.users)
            miss = -by_person(quality, scores.users)
            if n_tasks == 1:
                losses[1], misses = loss, miss
            elif better(losses[1], loss):
                if wanted == 1 and not better(misses, miss):
                    self.report.notes.append(f"{tasks.n_tasks} tasks: likelier queries but no better lists")
                    continue
                control[tasks.n_tasks] = self._control(tasks, untouched, start)
            losses[tasks.n_tasks] = loss
            found[tasks.n_tasks] = tasks, meta, gates
        choice = choose_n_tasks(losses, control, least=wanted)
        self.report.tasks = [
            TaskCandidate(row.n_tasks, row.loss, row.gain, row.gain_error, row.chosen) for row in choice.table
        ]
        if choice.n_tasks < wanted:
            self.report.notes.append(
                f"min_tasks={wanted}, but at most {max(losses)} were found: "
                f"raise max_tasks or lower min_task_size"
            )
        tasks, meta, gates = found[choice.n_tasks]
        self.report.meta_losses = meta.losses
        self.members.head.restore(untouched | meta.head)
        return tasks, meta, self._scores(tasks, meta), gates

    def _proved(self, tasks: TaskModel, meta: MetaFit, untouched: State) -> MetaFit:
        """What was learned, or nothing where the whole stack doesn't rank better with it."""
        if not meta.head and not meta.adapters:
            return meta
        *_, after = self._stack(tasks, meta)
        self.members.head.restore(untouched)
        scores, gates, before = self._stack(tasks, NOTHING)
        self.report.learned = learned_worth(before, after, self.drawn.people)
        if not self.report.learned.kept:
            return replace(NOTHING, losses=meta.losses)
        _, self._plain_gates = corrected(gates, scores)
        self.members.head.restore(untouched | meta.head)
        return meta

    def _stack(self, tasks: TaskModel, meta: MetaFit) -> tuple[EpisodeScores, Gates, NDArray[np.float64]]:
        """(scores of these members, gates fitted to them, NDCG@10 f64[E] of each episode under these)."""
        scores = self._scores(tasks, meta)
        gates = fit_gates(scores)
        return scores, gates, scores.quality(gates.at(scores.support.lengths))

    def _control(self, tasks: TaskModel, untouched: State, start: MetaFit | None) -> NDArray[np.float64]:
        """Losses of as many random tasks: what they reach too isn't owed to the grouping."""
        self.members.head.restore(untouched)
        of_user = tasks.memberships(self.inner.log.histories, self.inner.log.user_features, self.inner.codes)
        counts = np.bincount(
            np.where(of_user.tasks[:, 0] < 0, tasks.n_tasks, of_user.tasks[:, 0]), minlength=tasks.n_tasks + 1
        )
        shuffled = RandomTasks(counts / counts.sum(), self.components.recipe.seed)
        meta = self._learn(shuffled, start)
        scores = self._scores(shuffled, meta)
        return by_person(cross_entropy(scores, fit_gates(scores)), scores.users)

    def _learn(self, tasks: TaskModel | RandomTasks, start: MetaFit | None) -> MetaFit:
        data = MetaData.draw(self.components, self.inner, tasks)
        if data is None:
            return NOTHING
        few = self.drawn.few_shot
        data = data.with_validation(few, tasks.memberships(few.support, None, self._codes))
        with self.step(
            f"meta-learner {self.components.recipe.meta_learner}, {tasks.n_tasks} tasks"
        ) as progress:
            return fit_meta(self.components, self.members, tasks, data, start, progress)

    def _scores(self, tasks: TaskModel | RandomTasks, meta: MetaFit) -> EpisodeScores:
        few = self.drawn.few_shot
        return self.members.scores(
            few,
            tasks.memberships(few.support, None, self._codes),
            self.drawn.people,
            adapters=adapters_of(meta),
            variants=self._variants,
            form=self._form,
        )

    def _cold_start(self, tasks: TaskModel) -> str:
        """The best source at k = 0 by NDCG@10 of the first query events."""
        empty = self.drawn.empty
        if not len(empty):
            return self.members.popularity.names[0]
        blank = EpisodeScores([], empty.support, empty.query, empty.users.astype(np.int64))
        forms = self.members.popularity
        candidates = dict(zip(forms.names, forms.table.T[:, None]))
        start = self.members.backbone.encode(empty.support.take(slice(0, 1)))
        candidates[START] = start @ self.members.backbone.item_matrix().T
        if self.cold_codes is not None and tasks.n_tasks > 1:
            histories = self.inner.log.histories
            of_user = tasks.memberships(histories, None, self.inner.codes).tasks[:, 0]
            bias = segment_bias(histories, of_user, tasks.n_tasks, forms)
            task = tasks.memberships(empty.support, None, self.cold_codes[empty.users]).tasks[:, 0]
            known = np.concatenate([bias, np.zeros((1, bias.shape[1]), np.float32)])[task]
            candidates[SEGMENT] = forms.table[:, 0] + known
        quality = {name: float(blank.quality_alone(scores).mean()) for name, scores in candidates.items()}
        if self.cold_codes is not None:
            mixture = self.members.mixture
            moved = mixture.memberships(empty.support, self.cold_codes[empty.users]) @ mixture.lift.T
            for name, column in zip(forms.names, forms.table.T):  # one at a time: each is [episodes, items]
                quality[name + BY_SEGMENT] = float(blank.quality_alone(column + moved).mean())
        self.report.cold_start = quality
        return max(quality, key=lambda name: quality[name])


def better(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether the second losses are lower by more than a standard error of the paired difference."""
    difference = one - other
    return bool(difference.mean() > difference.std(ddof=1) / np.sqrt(len(difference)))
