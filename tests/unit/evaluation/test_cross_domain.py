"""Transfer between two domains: the cut, what is ranked, and purchases that are listed in both."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metarec_sdk.data import Interactions
from metarec_sdk.errors import ArgumentError, DataError
from metarec_sdk.evaluation import evaluate, judging
from metarec_sdk.evaluation.baselines import contestants
from metarec_sdk.evaluation.group import Group
from metarec_sdk.evaluation.judging import DEPTH, judge_ranker
from metarec_sdk.evaluation.k_shot import VARIANTS, Plan, StudySet, plan
from metarec_sdk.evaluation.k_shot.domains import apart, twins
from metarec_sdk.evaluation.k_shot.set_run import SetRun
from metarec_sdk.evaluation.protocols import CrossDomain

OFTEN = "book/2"
"""A book that several people bought."""

PROTOCOL = CrossDomain(source="book", target="film", ks=(0, 1, 3), min_users=20)


@pytest.fixture(scope="module")
def shop(make_log) -> Interactions:
    """200 people of two tastes with 6 of 200 books and 5 of 30 films: most lists begin with books."""
    rng = np.random.default_rng(2)
    rows = []
    for user in range(200):
        for domain, n_items, n_events in (("book", 200, 6), ("film", 30, 5)):
            weight = np.where(np.arange(n_items) % 2 == user % 2, 9.0, 1.0)
            chosen = rng.choice(n_items, n_events, replace=False, p=weight / weight.sum())
            rows += [(user, f"{domain}/{item}", 0) for item in chosen]
    order = rng.permutation(len(rows))
    return make_log([rows[place] for place in order], has_time=False)


def ids(prepared, histories):
    names = prepared.items.decode(histories.items).to_list()
    return [names[start:end] for start, end in zip(histories.offsets, histories.offsets[1:])]


def test_support_is_of_one_domain_and_query_of_the_other(shop):
    prepared = PROTOCOL.prepare(shop)
    cases = prepared.test.cases
    assert [case.k for case in cases] == [0, 1, 3]
    people = set(cases[0].users.decode(cases[0].episodes.users).to_list())
    assert not people & set(prepared.test.train.frame["user_id"])
    assert not people & set(prepared.validation.train.frame["user_id"])
    queries = [ids(prepared, case.episodes.query) for case in cases]
    assert queries[0] == queries[1] == queries[2]
    assert all(item.startswith("film/") for query in queries[0] for item in query)
    supports = [ids(prepared, case.episodes.support) for case in cases]
    for k, found in zip((0, 1, 3), supports):
        assert {len(support) for support in found} == {k}
        assert all(item.startswith("book/") for support in found for item in support)
    assert all(long[:1] == short for short, long in zip(supports[1], supports[2]))


def test_only_the_target_is_ranked_however_deep_it_lies(shop):
    """Sixteen of seventeen items are books; nobody's list may run out because of them."""
    group = Group([PROTOCOL.prepare(shop)])
    window = group.test()
    assert window.catalogue.size <= 30 < DEPTH < len(window.catalogue.items)
    report = evaluate(None, shop, protocol=PROTOCOL, baselines=["popularity", "item-knn", "ease"])
    rows = {(row.method, row.k): row.metrics["ndcg@10"].value for row in report.rows}
    assert rows["popularity", 0] == pytest.approx(rows["popularity", 3])
    films = shop.filter(pl.col("item_id").str.starts_with("film/"))
    baseline = window.fitted(contestants(["popularity"])[0], {}, 0)
    lists = window.translation.lists(baseline.rank(window.cases[0].episodes.support, 230))
    assert {len(lists.items[a:b]) for a, b in zip(lists.offsets, lists.offsets[1:])} == {films.n_items}
    assert rows["item-knn", 3] > 1.2 * rows["popularity", 3]  # tastes carry over


def test_lists_that_end_before_the_target_begins_are_refused(shop, monkeypatch):
    """Short lists would count wanted items as missed that are ranked well among the target's."""
    window = Group([PROTOCOL.prepare(shop)]).test()
    case = window.cases[0]
    baseline = window.fitted(contestants(["popularity"])[0], {}, 0)
    given = baseline, window.translation, window.catalogue, case.episodes.support, case.episodes.query
    exact = judge_ranker(*given)
    monkeypatch.setattr(judging, "MAX_K", len(window.catalogue.items) - 1)
    np.testing.assert_array_equal(judge_ranker(*given).values, exact.values)
    monkeypatch.setattr(judging, "MAX_K", 10)
    with pytest.raises(DataError, match="take fewer users"):
        judge_ranker(*given)


def test_larger_supports_than_people_have_are_left_out(shop):
    prepared = CrossDomain(source="book", target="film", ks=(0, 1, 7), min_users=20).prepare(shop)
    assert [case.k for case in prepared.test.cases] == [0, 1]
    assert any("k = 7 is left out" in note for note in prepared.notes)


def test_what_can_not_be_cut_is_refused(shop, tastes):
    for wrong in ({"source": "film", "target": "film"}, {"ks": ()}, {"n_query": 0}, {"held_out": 1.0}):
        with pytest.raises(ArgumentError):
            CrossDomain(**{"source": "book", "target": "film"} | wrong)
    with pytest.raises(ArgumentError, match="times"):
        PROTOCOL.prepare(tastes)
    with pytest.raises(ArgumentError, match="nobody"):
        CrossDomain(source="book", target="game").prepare(shop)


def test_a_purchase_listed_in_both_domains_is_found(shop):
    """A film under which the buyers of a book stand again is that book; films alike by taste aren't."""
    frame = shop.frame
    assert twins(frame, ("book", "film")) == []
    bought = frame.filter(pl.col("item_id") == OFTEN)
    assert bought.height >= 3
    copies = pl.concat([frame, bought.with_columns(item_id=pl.lit("film/99"))])
    assert twins(copies, ("book", "film")) == ["film/99"]
    assert twins(copies, ("film", "book")) == [OFTEN]


def test_people_apart_are_somebody_else_in_each_domain(shop):
    frame = apart(shop.frame)
    assert frame["user_id"].n_unique() == 400
    suffix = frame["user_id"].str.split("@").list.last()
    assert (suffix == frame["item_id"].str.split("/").list.first()).all()


@pytest.fixture
def folder(shop, tmp_path, monkeypatch):
    """The shop as a data set of the study, with one purchase listed twice."""
    bought = shop.frame.filter(pl.col("item_id") == OFTEN).with_columns(item_id=pl.lit("film/99"))
    frame = pl.concat([shop.frame, bought]).with_columns(
        domain=pl.col("item_id").str.split("/").list.first(),
        item_id=pl.col("item_id").str.split("/").list.last().cast(pl.Int64),
    )
    path = tmp_path / "amazon-cross-sport-phone"
    path.mkdir()
    frame.select("user_id", "item_id", "domain").write_parquet(path / "interactions.parquet")
    monkeypatch.setenv("METAREC_DATA", str(tmp_path))


def study_set(view) -> StudySet:
    return StudySet(
        name="shop",
        dataset="amazon-cross-sport-phone",
        about="",
        ordered=False,
        domains=("book", "film"),
        view=view,
    )


def test_the_views_of_a_study_set(folder):
    assert "film/99" not in set(study_set("together").read().frame["item_id"])
    log = study_set("apart").read()
    tasks = study_set("apart").tasks(log)
    assert tasks["user_id"].n_unique() == tasks.height == 400
    assert set(tasks["task"]) == {"book", "film"}
    assert study_set("transfer").protocol((0, 1)).name == "cross-domain"


def test_variants_run_where_they_mean_something(folder):
    every = tuple(list(VARIANTS)[1:])
    named = {}
    for view in ("together", "apart", "transfer"):
        log = study_set(view).read()
        found = plan.jobs(Plan(seeds=(0,), variants=every), study_set(view), log, "hash", {})
        named[view] = {job.contender for job in found if job.contestant is None}
        for job in found:
            if job.contestant is None:
                job.recommender()  # every name and parameter exists
            if job.users is not None:
                assert job.users["user_id"].n_unique() == job.users.height == log.n_users
    assert "known tasks" not in named["together"] | named["transfer"]
    assert named["apart"] - named["together"] == {
        *("known tasks", "shuffled known tasks", "known means only", "guarded known tasks")
    }
    assert named["transfer"] - named["together"] == {"target domain only"}

    log = study_set("apart").read()
    known, shuffled, random = (
        VARIANTS[name].table(study_set("apart"), log)["task"]
        for name in ("known tasks", "shuffled known tasks", "random tasks")
    )
    assert known.value_counts().sort("task").equals(shuffled.value_counts().sort("task"))
    assert (known != shuffled).mean() > 0.3
    assert random.n_unique() == 8


def test_the_target_alone_is_trained_on_without_the_source(folder, tmp_path, monkeypatch):
    seen = []

    def refuse(self, log, items=None, users=None):
        seen.append(log)
        raise InterruptedError

    monkeypatch.setattr("metarec_sdk.recommender.Recommender.fit", refuse)
    run = SetRun.of(study_set("transfer"), Plan(ks=(0, 1), seeds=(0,), variants=("target domain only",)))
    for job in (job for job in run.jobs if job.contestant is None):
        with pytest.raises(InterruptedError):
            run.run(job, tmp_path / "cell.json")
    domains = [set(log.frame["item_id"].str.split("/").list.first()) for log in seen]
    assert domains == [{"book", "film"}, {"film"}]
