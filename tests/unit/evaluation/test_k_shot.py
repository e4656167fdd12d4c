"""The k-shot study: reading sets, resuming, corrected claims, and the command end to end."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from metarec_sdk.data import Interactions, encode
from metarec_sdk.errors import ArgumentError, UnknownIdError
from metarec_sdk.evaluation.baselines.cluster_popularity import ClusterPopularity
from metarec_sdk.evaluation.baselines.popularity import Popularity
from metarec_sdk.evaluation.bootstrap import paired_bootstrap
from metarec_sdk.evaluation.cases import WHOLE
from metarec_sdk.evaluation.contest import Contest
from metarec_sdk.evaluation.group import Group
from metarec_sdk.evaluation.judging import CaseScores
from metarec_sdk.evaluation.k_shot import Plan, StudySet, cells, plan, run_study, study_sets, workers
from metarec_sdk.evaluation.k_shot.claims import Claim, Lifted, claim, holm, p_value
from metarec_sdk.evaluation.k_shot.set_run import SetRun
from metarec_sdk.evaluation.k_shot.workers import THREAD_COUNTS
from metarec_sdk.evaluation.metrics import METRICS, STRATA
from metarec_sdk.evaluation.rows import column
from metarec_sdk.evaluation.scores import RECOMMENDER, CaseBoard, MethodScores
from metarec_sdk.report.k_shot_files import write_files
from metarec_sdk.types import Histories, TopK

COAT = study_sets(["coat"])[0]


class Clusters:
    """A recommender in milliseconds: cluster popularity, and its backbone popularity."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def clone(self, *, seed: int) -> Clusters:
        return Clusters(seed)

    def fit(self, log: Interactions, items: object = None, users: object = None) -> None:
        training, _, self.items = encode(log)
        self._clusters, self._popularity = ClusterPopularity(clusters=3), Popularity()
        self._clusters.fit(training, np.random.default_rng(self.seed))
        self._popularity.fit(training, np.random.default_rng(self.seed))

    def rank(self, histories: Histories, k: int, memberships: object = None) -> TopK:
        return self._clusters.rank(histories, k)

    def members(self) -> dict[str, Popularity]:
        return {"backbone": self._popularity}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder with a set of coat's form: people of two tastes, listed item by item."""
    rng = np.random.default_rng(3)
    rows = []
    for user in range(150):
        weight = np.where(np.arange(40) % 2 == user % 2, 10.0, 1.0)
        for item in rng.choice(40, 12, replace=False, p=weight / weight.sum()):
            rows.append((user, int(item), 0.5 if item < 5 else 1.0, "train"))
        rows.append((user, int(rng.integers(40)), 1.0, "test"))
    frame = pl.DataFrame(rows, ["user_id", "item_id", "propensity", "split"], orient="row")
    (tmp_path / "data" / "coat").mkdir(parents=True)
    frame.sort("item_id").write_parquet(tmp_path / "data" / "coat" / "interactions.parquet")
    monkeypatch.setenv("METAREC_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(plan.Job, "recommender", lambda job: Clusters(job.seed))
    return tmp_path


def test_a_set_without_order_is_shuffled_and_keeps_only_what_counts(data):
    log = COAT.read()
    assert log.frame.columns == ["user_id", "item_id", "timestamp", "event_type", "value", "row"]
    assert len(log) == 150 * 12  # the other split is left out
    assert not log.has_time
    assert not log.frame["item_id"].is_sorted()
    assert log.frame.equals(COAT.read().frame)
    assert log.frame["row"].to_list() == list(range(len(log)))


def test_an_item_twice_counts_once_where_there_is_no_order(data):
    both = StudySet(name="both", dataset="coat", about="", ordered=False).read()
    assert both.frame.select("user_id", "item_id").is_unique().all()
    ordered = StudySet(name="ordered", dataset="coat", about="", ordered=True).read()
    assert len(ordered) == 150 * 13


def test_the_content_variant_is_told_what_items_and_people_are(data, monkeypatch):
    folder = data / "data" / "coat"
    colours = pl.DataFrame(
        {"item_id": range(40), "gender": "men", "jackettype": "parka", "color": "red", "onfrontpage": "yes"}
    )
    colours.write_parquet(folder / "items.parquet")
    kinds = pl.DataFrame({"user_id": range(150), "gender": ["men", "women"] * 75, "age": "20-30"})
    kinds.write_parquet(folder / "users.parquet")
    log, settings = COAT.read(), Plan(seeds=(0,), variants=("content",))
    stack, told = plan.jobs(settings, COAT, log, "hash", {})[:2]
    assert (stack.contender, told.contender) == (RECOMMENDER, "content")
    assert stack.items is None
    assert stack.users is None
    assert told.items.columns == ["item_id", "gender", "jackettype", "color"]
    assert told.users.columns == ["user_id", "task"]
    assert told.arguments["clusterer"] == "column"
    # Another colour is another result; a set without people's columns has content alone.
    colours.with_columns(color=pl.lit("blue")).write_parquet(folder / "items.parquet")
    assert plan.jobs(settings, COAT, log, "hash", {})[1].key != told.key
    nobody = replace(COAT, known=())
    alone = plan.jobs(settings, nobody, log, "hash", {})[1]
    assert alone.users is None
    assert alone.items.height == 40
    assert alone.arguments == {"order": "none"}
    nothing = replace(COAT, content=())
    assert "content" not in {job.contender for job in plan.jobs(settings, nothing, log, "hash", {})}
    # What a job holds reaches the fit.
    seen = []

    class Told(Clusters):
        def clone(self, *, seed: int) -> Told:
            return Told(seed)

        def fit(self, log: Interactions, items: object = None, users: object = None) -> None:
            seen.append((items, users))
            super().fit(log)

    monkeypatch.setattr(plan.Job, "recommender", lambda job: Told(job.seed))
    run = SetRun.of(nobody, Plan(ks=(0, 1), seeds=(0,), variants=("content",)))
    job = next(job for job in run.jobs if job.contender == "content")
    run.run(job, data / "cell.json")
    items, users = seen[0]
    assert items.equals(job.items)
    assert users is None


def test_caps_keep_whole_users(data):
    assert COAT.read(40).n_users == 40
    assert len(COAT.read(40)) == 40 * 12
    assert COAT.read(0).n_users == 150


def test_an_unknown_set_is_told():
    with pytest.raises(UnknownIdError, match="'coat'"):
        study_sets(["coats"])


@pytest.mark.parametrize("wrong", [{"seeds": ()}, {"seeds": (1, 1)}, {"variants": ("x",)}, {"max_users": -1}])
def test_a_plan_refuses_what_makes_no_sense(wrong):
    with pytest.raises(ArgumentError):
        Plan(**wrong)


def test_holm_corrects_step_by_step():
    found = holm([_claim(p) for p in (0.01, 0.04, 0.03, 0.005)])
    assert [each.p_holm for each in found] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([_claim(0.9), _claim(0.8)])[0].p_holm == 1.0


def _claim(p: float) -> Claim:
    return Claim("set", "time", None, ("ease",), 0.1, 0.0, 0.2, p)


def test_p_values_count_both_sides():
    draws = np.concatenate([np.full(990, 0.1), np.full(9, -0.1)])
    assert p_value(draws) == pytest.approx(2 * 10 / 1000)
    assert p_value(-draws) == pytest.approx(2 * 10 / 1000)
    assert p_value(np.zeros(10)) == 1.0


def test_a_mean_of_lifts_keeps_the_pairing():
    """Two k whose lifts move against each other: their mean is certain, though neither is."""
    noise = np.random.default_rng(0).normal(size=200)
    width = len(METRICS) + len(STRATA)
    values = np.ones((3 * width, 200))
    values[column(1)] = 1.2 + 0.5 * noise
    values[column(2)] = 1.2 - 0.5 * noise
    resampled = paired_bootstrap(values, np.random.default_rng(1), 500)
    names = ["base", "up", "down"]
    up, down = (Lifted.between(resampled, names, name, "base") for name in ("up", "down"))
    alone, both = claim("set", "time", 1, [up]), claim("set", "time", None, [up, down])
    assert alone.high - alone.low > 0.1
    assert both.lift == pytest.approx(0.2)
    assert both.high - both.low < 1e-9
    assert both.p < 0.01


def test_cells_keep_what_boards_hold():
    values = np.random.default_rng(0).random((len(METRICS), 5))
    strata = np.full((len(STRATA), 5), np.nan)
    scores = CaseScores(values, strata, np.array([True, False, True]), 0.5)
    board = CaseBoard(("cold-start", "time", WHOLE), 5, 3, 0.1, "hash")
    board.methods["ease"] = MethodScores("ease", "baseline", [scores], 1.5, {"regularization": 2.0}, 0.3)
    back = cells.board_from_dict(json.loads(json.dumps(cells.board_to_dict(board), allow_nan=False)))
    assert (back.key, back.n_users, back.unknown_share) == (board.key, 5, 0.1)
    method = back.methods["ease"]
    assert (method.settings, method.validation_ndcg, method.fit_seconds) == (
        {"regularization": 2.0},
        0.3,
        1.5,
    )
    np.testing.assert_allclose(method.seeds[0].values, values, atol=1e-6)
    assert np.isnan(method.seeds[0].by_stratum).all()
    assert method.coverage(3) == pytest.approx(2 / 3)


def test_a_study_in_own_order_shares_its_cells_with_one_in_both(data):
    ordered = StudySet(name="coat", dataset="coat", about="", ordered=True)
    both = Plan(ks=(0, 1), seeds=(0,), budget=1, n_draws=200)
    own = replace(both, seeds=(0, 1), own_order=True)
    run_study([ordered], both, data / "out")
    before = set((data / "out").rglob("*.json"))
    alone = run_study([ordered], own, data / "out")
    (added,) = set((data / "out").rglob("*.json")) - before
    assert added.name.startswith("recommender-time-1-")
    assert {row.order for row in alone.results[0].report.rows} == {"time"}
    assert [claim.order for claim in alone.headlines] == ["time"]
    assert [path.name for path in write_files(alone, data / "out") if path.suffix == ".svg"] == [
        "coat-time.svg"
    ]
    assert "coat-random.svg" not in (data / "out" / "tables.md").read_text()
    assert [claim.order for claim in run_study([ordered], both, data / "out").headlines] == ["time", "random"]


def test_a_study_resumes_and_grows(data, monkeypatch):
    small = Plan(ks=(0, 1, 3), seeds=(0,), budget=1, n_draws=200)
    first = run_study([COAT], small, data / "out")
    files = {path: path.stat().st_mtime_ns for path in (data / "out").rglob("*.json")}
    assert len(files) == 10  # the stack and nine baselines; recent popularity needs times
    next(iter(files)).with_suffix(".7.partial").write_text("{")  # what a killed run leaves

    ran = []
    monkeypatch.setattr(SetRun, "run", _recorded(SetRun.run, ran))
    again = run_study([COAT], small, data / "out")
    assert not ran
    assert again.headlines == first.headlines

    more = Plan(ks=(0, 1, 3), seeds=(0, 1), budget=1, variants=("one task",), n_draws=200)
    grown = run_study([COAT], more, data / "out")
    assert [(job.contender, job.seed) for job in ran] == [
        (RECOMMENDER, 1),
        ("one task", 0),
        ("one task", 1),
    ]
    assert all(path.stat().st_mtime_ns == written for path, written in files.items())
    report = grown.results[0].report
    assert report.find("variant: one task", 3, "random").seeds == (0, 1)
    assert {each.over[0] for each in grown.results[0].over_parts} >= {"popularity", "member: backbone"}
    contrast = grown.contrasts[0]
    assert (contrast.method, set(contrast.over)) == ("variant: one task", {RECOMMENDER})
    assert contrast.lift == pytest.approx(0.0)  # the stand-in is the same whatever it is asked for


def _recorded(run, ran):
    def recorded(self, job, path):
        ran.append(job)
        return run(self, job, path)

    return recorded


def test_other_code_or_budget_has_other_cells(data, monkeypatch):
    log = COAT.read()
    one = plan.jobs(Plan(), COAT, log, "hash", {})
    assert len({job.key for job in one}) == len(one)
    fewer = plan.jobs(Plan(budget=2), COAT, log, "hash", {})
    assert [a.key == b.key for a, b in zip(one, fewer)] == [
        job.contestant is None or len(job.contestant.grid) <= 2 for job in one
    ]
    monkeypatch.setattr(plan, "code_fingerprint", lambda parts: "changed")
    assert not {job.key for job in one} & {job.key for job in plan.jobs(Plan(), COAT, log, "hash", {})}


def test_the_stack_is_fitted_for_each_order_that_is_judged(data):
    """The rows of a set without order are shuffled, and "auto" would believe that order."""
    shuffled, ordered = COAT, StudySet(name="coat", dataset="coat", about="", ordered=True)
    keys = []
    for study_set, told in (
        (shuffled, {(None, "none")}),
        (ordered, {("time", "time"), ("random", "none")}),
    ):
        found = plan.jobs(Plan(variants=("one task",)), study_set, study_set.read(), "hash", {})
        stacks = [job for job in found if job.contestant is None]
        assert {(job.order, job.arguments["order"]) for job in stacks} == told
        assert len({job.path(data, "coat") for job in stacks}) == len(stacks)
        keys.append({job.key for job in stacks})
    assert not keys[0] & keys[1]


def test_one_order_of_a_contest_holds_its_cases_alone(data):
    study_set = StudySet(name="coat", dataset="coat", about="", ordered=True)
    group = Group([study_set.protocol((0, 1, 3)).prepare(study_set.read())])
    both, alone = Contest.of(group), Contest.of(group, "random")
    assert {order for _, order, _ in both.boards} == {"time", "random"}
    assert set(alone.boards) == {key for key in both.boards if key[1] == "random"}
    assert [case.key for case in alone.test.cases] == list(alone.boards)


def test_several_processes_write_the_same_cells(data):
    one = run_study([COAT], Plan(ks=(0, 1), seeds=(0,), budget=1, n_draws=200), data / "out")
    removed = [
        path
        for path in (data / "out" / "cells" / "coat").iterdir()
        if path.name.startswith(("item-knn", "popularity", "ease"))
    ]
    for path in removed:
        path.unlink()
    messages = []
    before = {name: os.environ.get(name) for name in THREAD_COUNTS}
    two = run_study(
        [COAT],
        Plan(ks=(0, 1), seeds=(0,), budget=1, n_draws=200),
        data / "out",
        processes=2,
        progress=lambda done, total, message: messages.append((done, total, message)),
    )
    assert len(removed) == 3
    assert all(path.exists() for path in removed)
    assert [done for done, _, _ in messages] == [7, 8, 9, 10, 10]
    assert before == {name: os.environ.get(name) for name in THREAD_COUNTS}
    for row in one.results[0].report.rows:
        same = two.results[0].report.find(row.method, row.k, row.order)
        assert same.metrics == row.metrics
    with pytest.raises(ArgumentError):
        run_study([COAT], Plan(), data / "out", processes=0)


def test_a_process_runs_the_job_that_it_was_given(data, monkeypatch):
    """Two orders have jobs of the same contender and seed."""
    ordered, two_seeds = StudySet(name="coat", dataset="coat", about="", ordered=True), Plan(seeds=(0, 1))
    ran = []
    monkeypatch.setattr(SetRun, "run", lambda self, job, path: ran.append((job.key, path)))
    given = [(job.key, data / job.key) for job in SetRun.of(ordered, two_seeds).jobs]
    for key, path in given:
        workers._run(ordered, two_seeds, key, path)
    assert ran == given


def test_the_command_writes_tables_and_curves(data, metarec_command):
    out = data / "out"
    study_of = run_study([COAT], Plan(seeds=(0,), budget=1, variants=("one task",)), out)
    written = write_files(study_of, out)
    assert {path.name for path in written} == {
        *("k-shot.csv", "k-shot.json", "claims.csv", "contrasts.csv", "tables.md", "coat-random.svg")
    }
    contrasts = pl.read_csv(out / "contrasts.csv")
    assert contrasts.select("method", "over").rows() == [("variant: one task", RECOMMENDER)]
    rows = pl.read_csv(out / "k-shot.csv")
    assert set(rows["set"]) == {"coat"}
    assert {"lift_low", "ndcg@10_high", "protocol_hash", "fit_seconds"} <= set(rows.columns)
    assert rows["protocol_hash"].n_unique() == 1
    tables = (out / "tables.md").read_text()
    assert "| **recommender** |" in tables
    assert "| coat | random | one task | recommender |" in tables
    assert "coat-random.svg" in tables
    assert f"{study_of.mean_lift} (95 %" in tables
    assert (out / "coat-random.svg").read_text().startswith("<svg")
    costs = json.loads((out / "k-shot.json").read_text())["sets"][0]["costs"]
    assert all(cost["peak_mib"] > 10 and cost["cpu_seconds"] > 0 for cost in costs)

    result = metarec_command("--sets", "coat", "--seeds", "1", "--budget", "1", "--out", out, "--report")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["failures"] == []


def test_a_report_of_nothing_is_refused(data, metarec_command):
    result = metarec_command("--sets", "coat", "--out", data / "empty", "--report")
    assert result.exit_code == 2
    assert "--report" in result.stderr


@pytest.fixture
def metarec_command():
    from typer.testing import CliRunner

    from metarec_sdk.cli import app

    def run(*arguments):
        texts = [str(argument) for argument in arguments]
        return CliRunner().invoke(app, ["bench", "k-shot", "--json", *texts])

    return run
