"""People whom training has never seen are ranked in their known task, and nothing else of them gets in."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import metarec_sdk as mr
from metarec_sdk.data import Interactions, encode
from metarec_sdk.evaluation import evaluate
from metarec_sdk.evaluation.baselines.popularity import Popularity
from metarec_sdk.evaluation.contest import Contest
from metarec_sdk.evaluation.group import Group
from metarec_sdk.evaluation.leak_check import somebody_else
from metarec_sdk.evaluation.protocols import ColdStart
from metarec_sdk.evaluation.scores import NO_SUPPORT, OTHER_SUPPORT, RECOMMENDER
from metarec_sdk.types import Histories, Memberships, TopK

PROTOCOL = ColdStart(ks=(0, 3), orders=("random",), held_out=0.3)


def items_of(histories: Histories) -> list[list[int]]:
    return [part.tolist() for part in np.split(histories.items, histories.offsets[1:-1])]


class Listening:
    """A recommender that writes down what it is told; memberships hold the task as a number."""

    task_column = "side"

    def __init__(self) -> None:
        self.told: list[tuple[list[str | None], list[list[int]]]] = []
        self.ranked: list[tuple[int, list[int] | None]] = []

    def clone(self, *, seed: int) -> Listening:
        return self

    def fit(self, log: Interactions, items: object = None, users: object = None) -> None:
        self.trained_on = set(log.frame["user_id"])
        training, _, self.items = encode(log)
        self._popularity = Popularity()
        self._popularity.fit(training, np.random.default_rng(0))

    def memberships(self, histories: Histories, task: list[str | None], unknown: str) -> Memberships:
        assert unknown == "ignore"
        self.told.append((list(task), items_of(histories)))
        found = Memberships.parent(len(histories))
        found.tasks[:, 0] = [-1 if name is None else int(name[1:]) for name in task]
        return found

    def rank(self, histories: Histories, k: int, memberships: Memberships | None = None) -> TopK:
        tasks = None if memberships is None else memberships.tasks[:, 0].tolist()
        self.ranked.append((len(histories), tasks))
        return self._popularity.rank(histories, k)

    def members(self) -> dict[str, Listening]:
        return {"backbone": self}


@pytest.fixture(scope="module")
def sided(make_log):
    """300 people of two sides, each with 12 items, most of them of their side."""
    rng = np.random.default_rng(5)
    rows = []
    for user in range(300):
        weight = np.where(np.arange(40) % 2 == user % 2, 12.0, 1.0)
        chosen = rng.choice(40, 12, replace=False, p=weight / weight.sum())
        rows += [(f"u{user:03}", f"i{item:02}", 0) for item in chosen]
    return make_log(rows, has_time=False)


def sides(labels: list[int]) -> pl.DataFrame:
    return pl.DataFrame(
        {"user_id": [f"u{user:03}" for user in range(300)], "side": [f"s{label}" for label in labels]}
    )


def test_everybody_is_told_by_their_row_in_the_table_alone(sided):
    """A column of that name in the log, which would tell of the query, isn't looked at."""
    group = Group([PROTOCOL.prepare(sided.replaced(sided.frame.with_columns(side=pl.lit("s9"))))])
    contest, listening = Contest.of(group), Listening()
    labels = [user % 7 for user in range(300)]
    contest.run_recommender(
        listening, 0, group.train, None, sides(labels).sample(fraction=1.0), lambda _: None
    )
    case = contest.test.cases[1]
    people = case.users.decode(case.episodes.users).to_list()
    assert not set(people) & listening.trained_on
    own = [labels[int(user[1:])] for user in people]
    other = somebody_else(len(people), np.random.default_rng(0))
    # k = 0: the stack and its member; k = 3: both, nobody's support, and somebody else's with their task.
    assert [tasks for _, tasks in listening.ranked] == [own, own, own, own, None, [own[i] for i in other]]
    assert [task for task, _ in listening.told[:2]] == [[f"s{task}" for task in own]] * 2
    assert listening.told[0][1] == [[]] * len(people)
    for shown, support, query in zip(
        listening.told[1][1], items_of(case.episodes.support), items_of(case.episodes.query)
    ):
        names = listening.items.decode(np.array(shown, np.int32)).to_list()
        assert names == [f"i{item:02}" for item in support]
        assert not set(support) & set(query)


@pytest.mark.parametrize("users", [None, pl.DataFrame({"user_id": ["u000"], "other": ["s1"]})])
def test_without_a_table_nobody_is_told(sided, users):
    group = Group([PROTOCOL.prepare(sided.replaced(sided.frame.with_columns(side=pl.lit("s9"))))])
    listening = Listening()
    Contest.of(group).run_recommender(listening, 0, group.train, None, users, lambda _: None)
    assert not listening.told


def test_somebody_without_a_row_has_no_task(sided):
    group = Group([PROTOCOL.prepare(sided)])
    listening = Listening()
    Contest.of(group).run_recommender(
        listening, 0, group.train, None, sides([1] * 300).head(0), lambda _: None
    )
    assert set(listening.told[0][0]) == {None}


@pytest.fixture(scope="module")
def stack():
    return mr.Recommender(
        backbone="factors",
        meta_learner="none",
        clusterer="column",
        params={"clusterer": {"column": "side"}, "backbone": {"factors": 8}, "head": {"factors": 8}},
        min_tasks=2,
        min_task_size=10,
        order="none",
        progress=False,
    )


def test_a_known_task_helps_newcomers_and_labels_by_chance_do_not(sided, stack):
    """The stack itself: the true side is worth much at k = 0; the same labels among the people by chance,
    those of the test people included, are worth nothing: the path carries the label and no event."""
    rng = np.random.default_rng(1)
    truth = [user % 2 for user in range(300)]
    found = {}
    for name, labels in (("true", truth), ("shuffled", rng.permutation(truth).tolist())):
        report = evaluate(stack, sided, protocol=PROTOCOL, baselines=["popularity"], users=sides(labels))
        assert not report.leaks
        found[name] = [report.find(RECOMMENDER, k, "random").metrics["ndcg@10"].value for k in (0, 3)]
        popularity = report.find("popularity", 0, "random").metrics["ndcg@10"].value
        assert report.find(NO_SUPPORT, 3, "random").metrics["ndcg@10"].value < found[name][1]
        assert report.find(OTHER_SUPPORT, 3, "random").metrics["ndcg@10"].value < found[name][1]
    assert found["true"][0] > 1.3 * popularity
    assert found["shuffled"][0] < 1.1 * popularity
