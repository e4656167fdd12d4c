"""What comparisons ask of a fitted recommender: tasks that are told, and the stack without a member."""

import numpy as np
import polars as pl
import pytest

import metarec_sdk as mr
from metarec_sdk.errors import ArgumentError, UnknownIdError
from metarec_sdk.recommender import decisions
from metarec_sdk.recommender.decisions import Judge
from metarec_sdk.types import Histories

LIGHT = {"backbone": "factors", "meta_learner": "none", "clusterer": "none"}


@pytest.fixture(scope="module")
def fitted(events, tmp_path_factory):
    rec = mr.Recommender(**LIGHT, seed=3, home=tmp_path_factory.mktemp("home"))
    rec.fit(mr.read_interactions(events, time="ts"))
    return rec


def test_tasks_that_are_asked_for_are_served_and_can_be_told(events):
    """Two markets that differ in nothing: only ``min_tasks`` serves them."""
    markets = events.with_columns(
        market=pl.when(pl.col("user_id").hash(1) % 2 == 0).then(pl.lit("a")).otherwise(pl.lit("b"))
    )
    log = mr.read_interactions(markets, time="ts")
    light = LIGHT | {"clusterer": "column", "params": {"clusterer": {"column": "market"}}}
    rec = mr.Recommender(**light, min_tasks=2, min_task_size=10)
    assert rec.task_column == "market"
    report = rec.fit(log)
    assert report.n_tasks == 2
    assert [row.n_tasks for row in report.tasks if row.chosen] == [2]
    histories = Histories.from_lists([[0, 1], [], [2]])
    told = rec.memberships(histories, ["b", None, "a"])
    assert told.tasks[:, 0].tolist() == [1, -1, 0]
    assert rec.memberships(histories, ["c", "a", None], "ignore").tasks[:, 0].tolist() == [-1, 0, -1]
    assert rec.memberships(histories).tasks[:, 0].tolist() == [-1, -1, -1]
    with pytest.raises(UnknownIdError, match="'c'"):
        rec.memberships(histories, ["c", "a", None])
    with pytest.raises(ArgumentError, match="2 values for 3"):
        rec.memberships(histories, ["a", "b"])


def test_tasks_that_cannot_be_had_are_missed_in_words(events):
    light = LIGHT | {"clusterer": "kmeans"}
    report = mr.Recommender(**light, min_tasks=9, max_tasks=4).fit(mr.read_interactions(events, time="ts"))
    assert report.n_tasks < 9
    assert any(note.startswith("min_tasks=9, but at most ") for note in report.notes)


@pytest.mark.parametrize("gain", [0.05, 0.0])
def test_tasks_are_served_where_the_lists_gain_too(events, monkeypatch, gain):
    """The queries are likelier under the tasks, and not under random ones: the lists decide."""
    losses = iter([2.0, 1.0])  # of one task, then of the known ones
    measured = Judge._stack

    def staged(judge, tasks, meta):
        scores, gates, quality = measured(judge, tasks, meta)
        return scores, gates, np.full(len(quality), 0.1 + gain * (tasks.n_tasks > 1))

    monkeypatch.setattr(Judge, "_stack", staged)
    monkeypatch.setattr(Judge, "_control", lambda judge, *_: np.full(len(np.unique(judge.drawn.people)), 2.0))
    monkeypatch.setattr(decisions, "cross_entropy", lambda scores, _: np.full(len(scores), next(losses)))
    light = LIGHT | {"clusterer": "column", "params": {"clusterer": {"column": "market"}}}
    report = mr.Recommender(**light, min_task_size=10).fit(mr.read_interactions(events, time="ts"))
    assert (report.n_tasks > 1) == (gain > 0)
    assert ("4 tasks: likelier queries but no better lists" in report.notes) == (gain == 0)


def test_the_stack_without_a_member(fitted):
    """The silent member's gate is closed and nothing else changes."""
    histories = Histories.from_lists([[0, 1, 2], [30, 31]])
    stack, rest = fitted._now.stack, fitted.without_members()
    assert rest.keys() == fitted.members().keys()
    gates = stack.gates.at(histories.lengths)
    whole = fitted.rank(histories, 60)
    for place, (name, ranker) in enumerate(rest.items()):
        left = gates.copy()
        left[:, place] = 0.0
        left[~left.any(1), list(rest).index("popularity")] = 1.0
        found = ranker.rank(histories, 60)
        for row in range(2):
            wanted = stack.rank(histories.take(slice(row, row + 1)), 60, gates=left[row])
            part = slice(found.offsets[row], found.offsets[row + 1])
            np.testing.assert_array_equal(found.items[part], wanted.items, err_msg=name)
            np.testing.assert_array_equal(found.scores[part], wanted.scores, err_msg=name)
        assert (gates[:, place] == 0).all() == np.array_equal(found.scores, whole.scores)
