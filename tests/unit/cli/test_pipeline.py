"""The commands one after another on a small log, with the real recommender."""

from __future__ import annotations

from types import SimpleNamespace

import polars as pl
import pytest

import metarec_sdk as mr
from metarec_sdk.cli.log_arguments import GivenLog, read_given

FIT = ("--time", "ts", "--event", "type", "--backbone", "factors", "--meta-learner", "none")
QUICK = ("--clusterer", "none", "--param", "backbone.factors=8", "--param", "head.factors=8")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """80 people of two tastes, 20 items with integer ids, one event an hour."""
    rows = [
        (user, 100 + (user % 2) * 10 + (step * 3 + user) % 10, 1_700_000_000 + 3600 * (5 * user + step), kind)
        for user in range(1, 81)
        for step, kind in enumerate(["view", "click", "purchase"] * 3)
    ]
    path = tmp_path_factory.mktemp("log") / "events.parquet"
    pl.DataFrame(rows, schema=["user_id", "item_id", "ts", "type"], orient="row").write_parquet(path)
    return path


def test_fit_recommend_observe_update_roll_back(metarec, metarec_json, log, tmp_path):
    model = tmp_path / "model"
    report = metarec_json("fit", log, "--out", model, *FIT, *QUICK, "--seed", "5")
    assert (report["events"], report["users"], report["items"]) == (720, 80, 20)

    lists = metarec_json("recommend", model, "--user", "1", "--user", "2", "-k", "3")
    seen = pl.read_parquet(log).filter(pl.col("user_id") == 1)["item_id"].to_list()
    assert [row["user_id"] for row in lists] == [1] * 3 + [2] * 3
    assert not {row["item_id"] for row in lists if row["user_id"] == 1} & set(seen)
    recommended = mr.load(model).recommend([1, 2], k=3)
    assert [row["item_id"] for row in lists] == recommended["item_id"].to_list()

    best = lists[0]["item_id"]
    event = ("--user", "1", "--item", best, "--event", "purchase", "--event-id", "e1")
    assert metarec_json("observe", model, *event)["first_sequence"] == 1
    assert best not in [row["item_id"] for row in metarec_json("recommend", model, "--user", "1")]

    assert metarec("observe", model, "--user", "new", "--item", str(best)).exit_code == 2  # ids are integers
    assert metarec("observe", model, "--user", "1", "--item", "100", "--event", "purchse").exit_code == 2

    updated = metarec_json("update", model)
    assert updated["events"] == 1
    assert [row["current"] for row in metarec_json("generations", model, "--rollback")] == [True, False]
    assert metarec("recommend", model, "--history", "100,110").exit_code == 0
    assert metarec("recommend", model, "--history", "100,999").exit_code == 2
    assert metarec("recommend", model, "--history", "100,999", "--ignore-unknown").exit_code == 0

    evaluated = metarec_json(
        "evaluate", model, log, "--time", "ts", "--protocol", "leave-one-out", "--baselines", "none"
    )
    assert {row["method"] for row in evaluated["rows"]} >= {"recommender"}

    assert metarec("fit", log, "--out", model, *FIT, *QUICK).exit_code == 3  # not empty


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--time", "tss"), 2, "Did you mean time='ts'"),
        (("--time", "ts", "--clusterer", "acme/x"), 4, "pip install metarec-acme"),
        (("--time", "ts", "--backbone", "factor"), 2, "Did you mean 'factors'"),
        (("--time", "ts", "--backbone", "factors", "--param", "backbone.factor=3"), 2, "factor"),
        (("--time", "ts", "--backbone", "factors", "--column", "market"), 2, "market"),
    ],
)
def test_a_fit_that_cannot_be_leaves_no_folder(metarec, log, tmp_path, options, code, words):
    result = metarec("fit", log, "--event", "type", "--out", tmp_path / "model", *options)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert not (tmp_path / "model").exists()


def test_a_folder_that_cannot_be_made_is_found_out_before_the_fit(metarec, log, tmp_path, monkeypatch):
    monkeypatch.setattr(mr.Recommender, "fit", lambda *_, **__: pytest.fail("fitted"))
    (tmp_path / "file").write_text("")
    result = metarec("fit", log, *FIT, *QUICK, "--out", tmp_path / "file" / "model")
    assert result.exit_code in (2, 3)
    assert result.stderr.startswith("Error: ")


def test_an_altered_model_is_refused(metarec, log, tmp_path):
    model = tmp_path / "model"
    assert metarec("fit", log, "--out", model, *FIT, *QUICK).exit_code == 0
    for path in model.glob("generations/*/*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    result = metarec("recommend", model, "--user", "1")
    assert result.exit_code == 3
    assert "Traceback" not in result.output


def test_tables_come_with_the_log(metarec, log, tmp_path, monkeypatch):
    given: dict[str, pl.DataFrame] = {}

    def fit(self, log, *, items=None, users=None):
        given.update(items=items, users=users)
        raise mr.ArgumentError("enough seen")

    monkeypatch.setattr(mr.Recommender, "fit", fit)
    (tmp_path / "items.csv").write_text("item_id,title\n100,Alien\n")
    pl.DataFrame({"user_id": ["1"], "market": ["de"]}).write_parquet(tmp_path / "users.parquet")
    tables = ("--items-table", tmp_path / "items.csv", "--users-table", tmp_path / "users.parquet")
    assert metarec("fit", log, *FIT, *QUICK, *tables, "--out", tmp_path / "model").exit_code == 2
    assert given["items"].schema == {"item_id": pl.Int64, "title": pl.String}
    assert given["users"].schema == {"user_id": pl.Int64, "market": pl.String}

    (tmp_path / "items.csv").write_text("item,title\n100,Alien\n")
    result = metarec("fit", log, *FIT, *QUICK, *tables, "--out", tmp_path / "model")
    assert "'item_id'" in result.stderr
    (tmp_path / "items.csv").write_text("item_id,title\ni100,Alien\n")
    assert (
        "in the log it is Int64" in metarec("fit", log, *FIT, *QUICK, *tables, "--out", tmp_path / "m").stderr
    )


def test_an_unknown_data_set(metarec, tmp_path):
    result = metarec("fit", "dataset:nothing-like-it", "--backbone", "factors", "--out", tmp_path / "model")
    assert result.exit_code == 2
    assert "nothing-like-it" in result.stderr


def test_a_data_set_brings_its_tables_and_a_given_one_goes_before_them(log, tmp_path, monkeypatch):
    interactions = mr.read_interactions(log, time="ts", event="type")
    own = pl.DataFrame({"item_id": [100]})
    data = SimpleNamespace(interactions=interactions, items=own, users=None)
    monkeypatch.setattr(mr.datasets, "load", {"small": data}.__getitem__)
    assert read_given("dataset:small", None, None) == GivenLog(interactions, own, None)

    path = tmp_path / "items.csv"
    path.write_text("item_id,title\n101,Alien\n")
    assert read_given("dataset:small", path, None).items["item_id"].to_list() == [101]


@pytest.mark.parametrize(("option", "order"), [((), "time"), (("--order", "none"), "none")])
def test_the_meaning_of_the_order_can_be_stated(metarec_json, metarec, log, tmp_path, option, order):
    report = metarec_json("fit", log, "--out", tmp_path / "model", *FIT, *QUICK, *option)
    assert report["order"] == order
    assert metarec("fit", log, "--out", tmp_path / "other", *FIT, "--order", "row").exit_code == 2
