"""What a fit says of its parts, on score matrices where it is known which of them helps."""

from dataclasses import replace

import numpy as np
import pytest

from metarec_sdk.recommender.episode_scores import MEMBERS, EpisodeScores
from metarec_sdk.recommender.gates import Gates, fit_gates
from metarec_sdk.recommender.guard import BandResult
from metarec_sdk.recommender.popularity import BANDS
from metarec_sdk.recommender.reports import FitReport, TaskCandidate
from metarec_sdk.recommender.worth import LearnedWorth, MemberWorth, learned_worth, worth_of
from metarec_sdk.types import Histories


@pytest.fixture
def scores() -> EpisodeScores:
    """100 people with two episodes each; the head alone points at the query."""
    rng = np.random.default_rng(0)
    items = np.array([rng.permutation(40)[:5] for _ in range(200)])
    members = [rng.standard_normal((200, 40)).astype(np.float32) for _ in MEMBERS]
    members[1][np.arange(200)[:, None], items[:, 3:]] += 3.0
    support, query = (Histories.from_lists(part.tolist()) for part in (items[:, :3], items[:, 3:]))
    return EpisodeScores(members, support, query, np.repeat(np.arange(100), 2))


def gates_of(level: list[float]) -> Gates:
    scale = np.ones((len(BANDS), len(MEMBERS)))
    return Gates(
        np.tile(level, (len(BANDS), 1)), np.zeros(len(MEMBERS)), scale, np.full(len(BANDS), -1, np.int32)
    )


def test_the_member_that_knows_is_worth_the_whole_score(scores):
    found = {row.name: row for row in worth_of(fit_gates(scores), scores)}
    assert list(found) == list(MEMBERS)
    head = found["head"]
    assert head.gain > 0.5
    assert head.gain > 5 * head.gain_error
    assert head.served == pytest.approx(head.alone, abs=0.05)
    assert abs(found["item-item"].gain) < 0.05
    assert str(head).startswith("head: helps, NDCG@10 +")


def test_the_gain_of_a_member_is_what_the_served_list_loses_without_it(scores):
    gates = gates_of([1.0] * len(MEMBERS))
    head = worth_of(gates, scores)[1]
    rest = gates.at(scores.support.lengths)
    full = scores.ndcg(scores.combined(rest))
    rest[:, 1] = 0.0
    difference = (full - scores.ndcg(scores.combined(rest))).reshape(100, 2).mean(1)
    assert head.gain == pytest.approx(difference.mean())
    assert head.gain_error == pytest.approx(difference.std(ddof=1) / 10)  # over people, not episodes


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.02, "head: helps, NDCG@10 +20.0 %"),
        (0.004, "head: no measurable difference"),
        (-0.004, "head: no measurable difference"),
        (-0.02, "head: makes queries likelier, but lists are better without it, NDCG@10 -20.0 %"),
    ],
)
def test_harm_beyond_the_error_is_not_called_noise(gain, words):
    assert str(MemberWorth("head", 0.1, 0.08, gain, 0.01, [], True)).startswith(words)


def test_members_that_are_not_used_are_called_dropped(scores):
    gates = gates_of([1.0] * len(MEMBERS))
    alone = replace(gates, single=np.full(len(BANDS), 1, np.int32))
    found = {row.name: row for row in worth_of(alone, scores)}
    assert [name for name, row in found.items() if row.kept] == ["head"]
    assert found["backbone"].dropped == [2]
    assert "dropped" in str(found["backbone"])
    partly = replace(found["head"], dropped=[1, 2, 15, 40])
    assert str(partly).endswith("; not used in histories of 1, 2-3, 15-39, 40 and more events")
    assert found["head"].dropped == []


def test_learning_is_kept_only_beyond_noise():
    rng = np.random.default_rng(0)
    people, before = np.repeat(np.arange(200), 2), rng.random(400)
    better = learned_worth(before, before + 0.02, people)
    assert better.kept
    assert better.gain == pytest.approx(0.02)
    assert "kept" in str(better)
    noise = learned_worth(before, before + 0.2 * rng.standard_normal(400), people)
    assert abs(noise.gain) < 2 * noise.gain_error
    assert not LearnedWorth(0.1, 0.001, 0.002).kept
    assert "dropped" in str(LearnedWorth(0.1, 0.001, 0.002))
    assert not learned_worth(before[:1], before[:1] + 1, people[:1]).kept


def test_the_report_speaks_of_every_part(scores):
    report = FitReport(10, 2, 3, members=worth_of(fit_gates(scores), scores))
    report.learned = LearnedWorth(0.1, 0.005, 0.001)
    report.tasks = [
        TaskCandidate(1, 3.0, 0.0, 0.0, False),
        TaskCandidate(2, 2.9, 0.1, 0.02, True),
        TaskCandidate(4, 3.2, -0.2, 0.3, False),
    ]
    report.cold_choice, report.cold_start = "start token", {"all-time": 0.1, "start token": 0.2}
    report.item_item_choice = ["directed", "directed", "directed", "directed", "regression", "regression"]
    report.bands = [
        BandResult(first, 10, 0.1, {}, {}, serves)
        for first, serves in ((1, "stack"), (2, "head"), (15, "popularity"), (40, "popularity"))
    ]
    report.correction = "refined and guarded"
    lines = str(report).splitlines()
    assert lines[1].startswith("worth of each member on people kept out of training")
    assert [line.split(":")[0] for line in lines[2:7]] == [f"  {name}" for name in MEMBERS]
    assert lines[7:9] == [
        "without a history: start token, NDCG@10 0.200",
        "item-item: directed; regression in histories of 15-39, 40 and more events",
    ]
    assert lines[9].startswith("weights: adjusted for lists")
    assert lines[10].startswith("histories of 2-3 events: head alone")
    assert lines[11].startswith("histories of 15-39, 40 and more events: popularity alone")
    assert lines[12].startswith("meta-learning: kept")
    assert lines[13:] == [
        "2 tasks: kept, queries are +0.1000 ± 0.0200 nats likelier than with one",
        "4 tasks: not kept, queries are -0.2000 ± 0.3000 nats likelier than with one",
    ]
    assert report.to_dict()["members"][1]["name"] == "head"
