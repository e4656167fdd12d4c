"""Which gates the final members are served with, and which item-item variant."""

from types import SimpleNamespace

import numpy as np

from metarec_sdk.recommender import decisions
from metarec_sdk.recommender.decisions import Decisions, Judge, undecided
from metarec_sdk.recommender.episode_scores import MEMBERS, EpisodeScores
from metarec_sdk.recommender.gates import Gates
from metarec_sdk.recommender.personalise import NOTHING
from metarec_sdk.recommender.popularity import BANDS
from metarec_sdk.recommender.reports import FitReport
from metarec_sdk.types import Histories, MetaFit

LEARNED = MetaFit({}, {"psi_out": np.ones((3, 2), np.float32)}, [], {})


def gates(level: float) -> Gates:
    scale = np.ones((len(BANDS), 5))
    return Gates(np.full((len(BANDS), 5), level), np.zeros(5), scale, np.full(len(BANDS), -1, np.int32))


def test_gates_follow_what_the_final_members_learned():
    form = np.zeros(len(BANDS), np.int32)
    decided = Decisions(1, LEARNED, ["symmetric"] * len(BANDS), form, gates(1.0), "all-time", gates(2.0))
    assert decided.gates_for(LEARNED) is decided.gates
    assert decided.gates_for(NOTHING) is decided.plain_gates
    plain = Decisions(1, NOTHING, ["symmetric"] * len(BANDS), form, gates(1.0), "all-time")
    assert plain.gates_for(NOTHING) is plain.gates
    assert undecided().gates_for(NOTHING) is not None


def test_the_item_item_variant_is_the_one_that_the_stack_needs(monkeypatch):
    """One variant repeats what the head says and leads by itself; the other knows what the head doesn't."""
    episodes, n = 200, 40
    rng = np.random.default_rng(0)
    items = np.array([rng.permutation(n)[:5] for _ in range(episodes)])  # three of support, two of query
    members = [rng.standard_normal((episodes, n)).astype(np.float32) * 0.1 for _ in MEMBERS]
    row = np.arange(episodes)
    head = rng.standard_normal((episodes, n)).astype(np.float32)
    head[row, items[:, 3]] += 4.0
    members[MEMBERS.index("head")] = head
    knows = rng.standard_normal((episodes, n)).astype(np.float32)
    knows[row, items[:, 4]] += 2.5
    variants = {"repeats": head, "knows": knows}
    scores = EpisodeScores(
        members,
        Histories.from_lists(items[:, :3].tolist()),
        Histories.from_lists(items[:, 3:].tolist()),
        row,
    )
    alone = {name: scores.quality_alone(values).mean() for name, values in variants.items()}
    assert alone["repeats"] > alone["knows"] + 0.1

    found = SimpleNamespace(
        item_item=variants,
        chosen_item_item=lambda names: names[0],
        boost_scores=lambda name, support: variants[name],
    )
    drawn = SimpleNamespace(few_shot=SimpleNamespace(support=scores.support))
    report = FitReport(0, 0, 0)
    monkeypatch.setattr(decisions, "fit_tasks", lambda *arguments: None)
    monkeypatch.setattr(Judge, "_scores", lambda judge, tasks, meta: scores)
    judge = Judge(None, None, found, drawn, None, None, None, report)
    assert judge._item_item_variants() == ["knows"] * len(BANDS)
    assert report.item_item["knows"] > report.item_item["repeats"] + 0.1
