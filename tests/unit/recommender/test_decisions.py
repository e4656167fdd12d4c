"""Which gates the final members are served with, and which item-item variant."""

from types import SimpleNamespace

import numpy as np
import pytest

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


def variants_chosen(monkeypatch, scores, variants):
    """(names by band, the fit report) under the members' ``scores`` and the item-item ``variants``."""
    found = SimpleNamespace(
        item_item=variants,
        chosen_item_item=lambda names: names[0],
        boost_scores=lambda name, support: variants[name],
    )
    drawn = SimpleNamespace(few_shot=SimpleNamespace(support=scores.support))
    report = FitReport(0, 0, 0)
    monkeypatch.setattr(decisions, "fit_tasks", lambda *arguments: None)
    monkeypatch.setattr(Judge, "_scores", lambda judge, tasks, meta: scores)
    return Judge(None, None, found, drawn, None, None, None, report)._item_item_variants(), report


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

    chosen, report = variants_chosen(monkeypatch, scores, variants)
    assert chosen == ["knows"] * len(BANDS)
    assert report.item_item["knows"] > report.item_item["repeats"] + 0.1


@pytest.mark.parametrize(("hits", "own"), [(1.0, True), (0.1, False)])
def test_a_band_leaves_the_best_variant_only_for_a_clear_lead(monkeypatch, hits, own):
    """One variant is right about short histories, the other about some of the few long ones."""
    n, short, few = 60, 200, 30
    rng = np.random.default_rng(1)
    lengths = np.array([3] * short + [10] * few)
    items = [rng.permutation(n) for _ in lengths]
    query = np.array([of[length] for of, length in zip(items, lengths)])
    row = np.arange(len(lengths))
    right = np.zeros((len(lengths), n), np.float32)
    right[row, query] = 5.0
    noise = rng.standard_normal((2, len(lengths), n)).astype(np.float32)
    usual, other = noise + np.where(lengths[:, None] == 3, right, 0.0) * [[[1.0]], [[0.0]]]
    other[short : short + int(hits * few)] += right[short : short + int(hits * few)]
    scores = EpisodeScores(
        [rng.standard_normal((len(lengths), n)).astype(np.float32) * 0.1 for _ in MEMBERS],
        Histories.from_lists([of[:length].tolist() for of, length in zip(items, lengths)]),
        Histories.from_lists(query[:, None].tolist()),
        row,
    )
    variants = {"usual": usual.astype(np.float32), "other": other.astype(np.float32)}
    chosen, _ = variants_chosen(monkeypatch, scores, variants)
    long = scores.bands[-1]
    assert chosen[long] == ("other" if own else "usual")
    assert chosen[:long] + chosen[long + 1 :] == ["usual"] * (len(BANDS) - 1)
    ahead = scores.quality_alone(variants["other"]) - scores.quality_alone(variants["usual"])
    assert ahead[short:].mean() > 0, "the other variant leads there, if by chance"
