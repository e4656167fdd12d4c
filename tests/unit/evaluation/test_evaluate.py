"""`evaluate` end to end, with a small recommender of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from metarec_sdk.data import Interactions, Vocabulary, encode
from metarec_sdk.errors import ArgumentError, DataError, UnknownIdError
from metarec_sdk.evaluation import ColdStart, Contestant, EvaluationReport, Warm, evaluate
from metarec_sdk.evaluation.baselines.cluster_popularity import ClusterPopularity
from metarec_sdk.evaluation.baselines.popularity import Popularity
from metarec_sdk.types import Histories, Memberships, Ranker, TopK, TrainingLog

Table = pl.DataFrame | None
COLD = ColdStart(ks=(0, 1, 3), n_query=4, min_users=1)
SOME = ("popularity", "first events", "ease")


class Clusters:
    """A recommender made of cluster popularity, with its own order of the vocabulary."""

    fits = 0
    """Fits of all instances."""

    def __init__(self, seed: int = 0, reverse: bool = False) -> None:
        self.seed = seed
        self.reverse = reverse

    def clone(self, *, seed: int) -> Clusters:
        return type(self)(seed, self.reverse)

    def fit(
        self, log: Interactions, items: pl.DataFrame | None = None, users: pl.DataFrame | None = None
    ) -> None:
        type(self).fits += 1
        ids = Vocabulary.from_ids(log.frame["item_id"]).ids
        self.items = Vocabulary(ids.reverse() if self.reverse else ids)
        self.trained_on = log
        training, _, _ = encode(log, items=self.items)
        self._ranker, self._popularity = ClusterPopularity(clusters=3), Popularity()
        self._ranker.fit(training, np.random.default_rng(self.seed))
        self._popularity.fit(training, np.random.default_rng(self.seed))

    def rank(self, histories: Histories, k: int, memberships: Memberships | None = None) -> TopK:
        return self._ranker.rank(histories, k)

    def members(self) -> Mapping[str, Ranker]:
        return {"backbone": self._popularity}


@pytest.fixture(scope="module")
def report(tastes: Interactions) -> EvaluationReport:
    Clusters.fits = 0
    return evaluate(Clusters(), tastes, protocol=[COLD, Warm()], baselines=SOME, n_draws=200)


def test_one_fit_serves_both_protocols(report: EvaluationReport) -> None:
    assert Clusters.fits == 1
    assert [record.name for record in report.protocols] == ["cold-start", "warm"]
    assert len({row.protocol_hash for row in report.rows}) == 2


def test_every_method_has_a_row_for_every_case(report: EvaluationReport) -> None:
    for order in ("time", "random"):
        for k in (0, 1, 3):
            methods = {row.method for row in report.rows if row.order == order and row.k == k}
            wanted = {"recommender", "member: backbone", *SOME}
            ablations = {"another user's support", "no support, same query"} if k else set()
            assert methods == wanted | ablations
    assert report.find("recommender", None, protocol="warm").users > 0
    with pytest.raises(UnknownIdError, match="no row of 'nothing'"):
        report.find("nothing", 0)


def test_personal_methods_gain_from_support(report: EvaluationReport) -> None:
    row = report.find("recommender", 3, "random")
    assert (
        row.metrics["ndcg@10"].value > 1.1 * report.find("popularity", 3, "random").metrics["ndcg@10"].value
    )
    assert row.metrics["ndcg@10"].low < row.metrics["ndcg@10"].value < row.metrics["ndcg@10"].high


def test_lift_is_over_the_best_baseline_and_the_backbone_is_one(report: EvaluationReport) -> None:
    for k in (0, 1, 3):
        rows = [row for row in report.rows if (row.protocol, row.order, row.k) == ("cold-start", "time", k)]
        rivals = {
            row.method: row.metrics["ndcg@10"].value
            for row in rows
            if row.kind == "baseline" or (row.method == "member: backbone" and k > 0)
        }
        lift = report.find("recommender", k).lift
        assert lift is not None
        assert rivals[lift.over] == max(rivals.values())
        ours = report.find("recommender", k).metrics["ndcg@10"].value
        assert lift.value == pytest.approx(ours / rivals[lift.over] - 1)
        assert lift.low <= lift.value <= lift.high
    member = report.find("recommender", 1).lift_over_member
    assert member is not None
    assert member.over == "member: backbone"


def test_the_backbone_member_equals_the_same_thing_as_a_baseline(report: EvaluationReport) -> None:
    for k in (0, 1, 3):
        assert report.find("member: backbone", k).metrics == report.find("popularity", k).metrics


def test_nothing_leaks_from_an_honest_recommender(report: EvaluationReport) -> None:
    assert [(check.order, check.k) for check in report.checks] == [
        (order, k) for order in ("time", "random") for k in (1, 3)
    ]
    assert report.leaks == []
    report.raise_if_leaking()
    shuffled = report.find("another user's support", 3, "random").metrics["ndcg@10"].value
    assert shuffled < report.find("recommender", 3, "random").metrics["ndcg@10"].value


class Peeking(Clusters):
    """Ranks what the person in that row of the batch is going to take, whatever the support."""

    answers: Histories

    def rank(self, histories: Histories, k: int, memberships: Memberships | None = None) -> TopK:
        if len(histories) != len(self.answers) or not histories.lengths.all():
            return super().rank(histories, k)
        known = self.answers.keep(self.answers.items >= 0)
        return TopK(known.offsets, known.items.astype(np.int64), np.zeros(len(known.items), np.float32))


def test_a_leak_is_flagged(tastes: Interactions) -> None:
    protocol = ColdStart(ks=(0, 2), n_query=4, min_users=1, orders=("time",))
    prepared = protocol.prepare(tastes)
    names = prepared.items.ids
    train_items = Clusters()
    train_items.fit(prepared.test.train)
    query = prepared.test.cases[1].episodes.query
    table = train_items.items.encode(names)
    Peeking.answers = Histories(table[query.items], query.offsets, query.weights, query.timestamps)
    report = evaluate(Peeking(), tastes, protocol=protocol, baselines=("popularity",), n_draws=200)
    (check,) = report.leaks
    assert check.ndcg > 0.9
    assert check.ndcg > check.reference_ndcg
    with pytest.raises(DataError, match="another user's support reaches"):
        report.raise_if_leaking()
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(report)
    assert "LEAK?" in console.export_text()


def test_seeds_are_averaged_and_the_order_of_the_vocabulary_does_not_matter(tastes: Interactions) -> None:
    one, two, both, reverse = (
        evaluate(recommender, tastes, protocol=COLD, baselines=(), seeds=seeds, n_draws=50)
        for recommender, seeds in (
            (Clusters(), (1,)),
            (Clusters(), (2,)),
            (Clusters(), (1, 2)),
            (Clusters(reverse=True), (1,)),
        )
    )
    means = [each.find("recommender", 3).metrics["ndcg@10"].value for each in (one, two, both)]
    assert means[2] == pytest.approx((means[0] + means[1]) / 2)
    assert both.find("recommender", 3).seeds == (1, 2)
    popularity = reverse.find("member: backbone", 3).metrics["recall@20"].value
    assert popularity == pytest.approx(one.find("member: backbone", 3).metrics["recall@20"].value, abs=0.02)


def test_the_same_call_gives_the_same_report(tastes: Interactions) -> None:
    first, again = (
        evaluate(Clusters(), tastes, protocol=COLD, baselines=SOME, n_draws=100).to_frame() for _ in range(2)
    )
    seconds = ["fit_seconds", "rank_seconds"]
    assert first.drop(seconds).equals(again.drop(seconds))


class Recording(Clusters):
    """Notes what it is given and what it gives."""

    log: Interactions
    calls: list[tuple[Histories, TopK]]

    def fit(
        self, log: Interactions, items: pl.DataFrame | None = None, users: pl.DataFrame | None = None
    ) -> None:
        super().fit(log, items, users)
        type(self).log = log

    def rank(self, histories: Histories, k: int, memberships: Memberships | None = None) -> TopK:
        lists = super().rank(histories, k)
        type(self).calls.append((histories, lists))
        return lists


def test_training_ends_before_the_cold_users_and_seen_items_stay_out(tastes: Interactions) -> None:
    Recording.calls = []
    report = evaluate(Recording(), tastes, protocol=COLD, baselines=())
    prepared = COLD.prepare(tastes)
    assert Recording.log.frame.equals(prepared.test.train.frame)
    for histories, lists in Recording.calls:
        for row in range(len(histories)):
            support = histories.items[histories.offsets[row] : histories.offsets[row + 1]]
            assert not np.isin(lists.items[lists.offsets[row] : lists.offsets[row + 1]], support).any()
    # Items 57 … 59 only appear after T: wanted, not in the catalogue, missed.
    assert report.find("recommender", 0).unknown_share > 0


class Outsider(Clusters):
    """Knows an item that nobody has in training and puts it first."""

    def fit(
        self, log: Interactions, items: pl.DataFrame | None = None, users: pl.DataFrame | None = None
    ) -> None:
        super().fit(log, items, users)
        self.items = self.items.extend(["i58"])

    def rank(self, histories: Histories, k: int, memberships: Memberships | None = None) -> TopK:
        lists = super().rank(histories.keep(histories.items < len(self.items) - 1), k)
        items = [[len(self.items) - 1, *lists.items[a:b]] for a, b in zip(lists.offsets, lists.offsets[1:])]
        offsets = lists.offsets + np.arange(len(lists.offsets))
        flat = np.array([item for row in items for item in row], np.int64)
        return TopK(offsets, flat, np.zeros(len(flat), np.float32))

    def members(self) -> Mapping[str, Ranker]:
        return {}


def test_items_outside_the_catalogue_are_taken_out_of_lists(tastes: Interactions) -> None:
    honest = evaluate(Clusters(), tastes, protocol=COLD, baselines=(), n_draws=50)
    outsider = evaluate(Outsider(), tastes, protocol=COLD, baselines=(), n_draws=50)
    assert outsider.find("recommender", 3).metrics == honest.find("recommender", 3).metrics


def test_reports_are_json_frame_and_table(report: EvaluationReport) -> None:
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert len(content["rows"]) == len(report.rows)
    assert content["rows"][0]["metrics"]["ndcg@10"].keys() == {"value", "low", "high"}
    assert content["protocols"][0]["hash"] == report.protocols[0].hash
    frame = report.to_frame()
    assert frame.height == len(report.rows)
    assert frame.filter(pl.col("kind") == "baseline")["settings"].null_count() == 0
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(report)
    text = console.export_text()
    for word in ("recommender", "another user's support", "k = 3", "lift over best baseline", "warm"):
        assert word in text


def test_baselines_are_tuned_case_by_case_within_the_budget(tastes: Interactions) -> None:
    fitted: list[int] = []

    class Counting(Popularity):
        def __init__(self, *, number: int) -> None:
            self.number = number

        def fit(self, log: TrainingLog, rng: np.random.Generator) -> None:
            fitted.append(self.number)
            super().fit(log, rng)

    grid = tuple({"number": number} for number in range(5))
    report = evaluate(
        None,
        tastes,
        protocol=COLD,
        baselines=[Contestant("counting", Counting, grid), "popularity"],
        budget=3,
    )
    # Three settings on validation; all are level, so the first is fitted again for the test.
    assert fitted == [0, 1, 2, 0]
    row = report.find("counting", 3)
    assert row.settings == {"number": 0}
    assert row.metrics == report.find("popularity", 3).metrics
    assert row.lift is None


def test_what_cannot_run_is_left_out_with_its_reason(tastes: Interactions) -> None:
    untimed = Interactions(tastes.frame.with_columns(timestamp=pl.col("row")), has_time=False)
    report = evaluate(None, untimed, protocol=COLD, baselines=("popularity", "recent popularity"))
    assert report.skipped == {"recent popularity": "the log has no times"}
    assert {row.method for row in report.rows} == {"popularity"}


def test_progress_reaches_its_end(tastes: Interactions) -> None:
    calls: list[tuple[int, int, str]] = []
    evaluate(
        Clusters(),
        tastes,
        protocol=COLD,
        baselines=("popularity", "first events"),
        n_draws=20,
        progress=lambda done, total, message: calls.append((done, total, message)),
    )
    assert calls[-1][0] == calls[-1][1]
    assert [done for done, _, _ in calls] == list(range(1, len(calls) + 1))


def test_mistakes_are_told(tastes: Interactions) -> None:
    with pytest.raises(UnknownIdError, match="no protocol 'warmish'"):
        evaluate(None, tastes, protocol="warmish")
    with pytest.raises(UnknownIdError, match="no baseline 'magic'"):
        evaluate(None, tastes, baselines=("magic",))
    with pytest.raises(ArgumentError, match="seeds must be different"):
        evaluate(Clusters(), tastes, seeds=(1, 1))
    with pytest.raises(ArgumentError, match="nothing to evaluate"):
        evaluate(None, tastes, baselines=())
    with pytest.raises(ArgumentError, match="budget"):
        evaluate(None, tastes, protocol=COLD, budget=0)
    with pytest.raises(ArgumentError, match="at least one protocol"):
        evaluate(None, tastes, protocol=[])
