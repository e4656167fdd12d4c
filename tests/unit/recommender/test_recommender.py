"""The facade from end to end on a log whose structure is known: people keep to a group of 15 items."""

import json
import threading
import warnings

import numpy as np
import polars as pl
import pytest

import metarec_sdk as mr
from metarec_sdk.errors import (
    ArgumentError,
    ArtefactError,
    ConflictError,
    DataError,
    MetarecError,
    NotFittedError,
    StorageError,
    UnknownIdError,
)
from metarec_sdk.recommender.episode_scores import MEMBERS

LIGHT = {"backbone": "factors", "meta_learner": "none", "clusterer": "none"}


@pytest.fixture(scope="module")
def log(events):
    """One type of event, so that every weight is 1."""
    return mr.read_interactions(events, time="ts")


@pytest.fixture(scope="module")
def fitted(log, tmp_path_factory):
    rec = mr.Recommender(**LIGHT, seed=3, home=tmp_path_factory.mktemp("home"))
    rec.fit(log)
    return rec


@pytest.fixture
def rec(fitted, tmp_path):
    """A copy of its own for tests that change state."""
    fitted.save(tmp_path / "model")
    return mr.load(tmp_path / "model")


def group(item: str) -> int:
    return (int(item[1:]) - 1) // 15


def test_lists_hold_the_taste_of_the_history(fitted):
    lists = fitted.recommend(history=[["i1", "i2", "i3"], ["i31", "i32", "i33"]], k=8)
    assert lists.columns == ["user_id", "rank", "item_id", "score"]
    for user, wanted in ((0, 0), (1, 2)):
        mine = lists.filter(pl.col("user_id") == user)
        assert mine["rank"].to_list() == list(range(1, 9))
        assert mine["score"].is_sorted(descending=True)
        assert sum(group(item) == wanted for item in mine["item_id"]) >= 6


def test_seen_items_never_come_back(fitted, events):
    lists = fitted.recommend(fitted.users, k=60)
    seen = events.select("user_id", "item_id").unique()
    assert lists.join(seen, on=["user_id", "item_id"], how="inner").is_empty()
    # Short lists instead of filled-up ones: everybody gets exactly what they haven't seen.
    counts = lists.group_by("user_id").len().join(seen.group_by("user_id").len(), on="user_id")
    assert (counts["len"] + counts["len_right"] == 60).all()


def test_filters_and_boosts(fitted):
    history = [["i1", "i2"]]
    allowed = fitted.recommend(history=history, k=10, allow=["i5", "i40", "i1"])
    assert set(allowed["item_id"]) == {"i5", "i40"}
    denied = fitted.recommend(history=history, k=60, deny=["i5"])
    assert "i5" not in denied["item_id"]
    assert len(denied) == 57
    boosted = fitted.recommend(history=history, k=1, boosts={"i40": 100.0})
    assert boosted["item_id"].to_list() == ["i40"]
    kept = fitted.recommend(history=history, k=60, exclude_seen=False)
    assert {"i1", "i2"} <= set(kept["item_id"])


def test_known_user_equals_the_same_raw_history(fitted, events):
    user = fitted.users[0]
    history = events.filter(pl.col("user_id") == user).sort("ts")["item_id"].to_list()
    known, raw = fitted.recommend([user], k=10), fitted.recommend(history=[history], k=10)
    assert known["item_id"].to_list() == raw["item_id"].to_list()
    assert known["score"].to_numpy() == pytest.approx(raw["score"].to_numpy(), rel=1e-5)


def test_batch_equals_one_by_one(fitted):
    users = fitted.users[:20]
    batch = fitted.recommend(users, k=5)
    single = pl.concat([fitted.recommend(user, k=5) for user in users])
    assert batch["item_id"].to_list() == single["item_id"].to_list()


def test_similar_items_share_the_group(fitted):
    similar = fitted.similar_items(["i1", "i20"], k=5)
    assert similar.columns == ["item_id", "rank", "similar_item_id", "score"]
    assert "i1" not in similar.filter(pl.col("item_id") == "i1")["similar_item_id"]
    assert sum(group(a) == group(b) for a, b in zip(similar["item_id"], similar["similar_item_id"])) >= 6


def test_same_seed_same_lists(log, fitted):
    again = mr.Recommender(**LIGHT, seed=3)
    again.fit(log)
    assert again.recommend(fitted.users, k=10).equals(fitted.recommend(fitted.users, k=10))


def test_save_and_load_give_the_same_bytes(rec, fitted):
    assert rec.recommend(fitted.users, k=10).equals(fitted.recommend(fitted.users, k=10))
    assert rec.generation == fitted.generation


def test_an_event_changes_the_next_list_and_outlives_the_process(rec, tmp_path):
    user, before = "u1", rec.recommend("u1", k=5)
    rec.observe(user, before["item_id"][0], "purchase", event_id="e1")
    after = rec.recommend(user, k=5)
    assert before["item_id"][0] not in after["item_id"]
    # A redelivery counts once.
    rec.observe(user, before["item_id"][0], "purchase", event_id="e1")
    assert rec.recommend(user, k=5).equals(after)
    assert mr.load(tmp_path / "model").recommend(user, k=5).equals(after)


def test_a_new_user_is_known_after_the_first_event(rec):
    with pytest.raises(UnknownIdError, match="'newcomer'"):
        rec.recommend("newcomer")
    rec.observe("newcomer", "i46")
    rec.observe("newcomer", "i47")
    listed = rec.recommend("newcomer", k=5)
    assert listed["item_id"].to_list() == rec.recommend(history=[["i46", "i47"]], k=5)["item_id"].to_list()


def test_update_takes_new_users_and_items_in_and_rolls_back(rec):
    first = rec.generation
    for user in range(30):
        rec.observe_many(
            pl.DataFrame(
                {
                    "user_id": [f"n{user}"] * 4,
                    "item_id": ["i1", "i2", "i3", "fresh"],
                    "event_type": ["click"] * 4,
                }
            )
        )
    with pytest.raises(UnknownIdError, match="'fresh'"):
        rec.similar_items("fresh")
    report = rec.update()
    assert report.events == 120
    assert report.new_items == ["fresh"]
    assert len(report.new_users) == 30
    assert report.parent == first
    # The new item keeps the company that it was taken with.
    assert "fresh" in rec.recommend(history=[["i1", "i2", "i3"]], k=60)["item_id"]
    similar = rec.similar_items("fresh", k=5)["similar_item_id"]
    assert sum(group(item) == 0 for item in similar) >= 4
    kept = rec.recommend("n0", k=5)
    assert rec.rollback() == first
    assert len(rec.generations()) == 2
    # Rolled back, yet nothing that was observed is forgotten.
    assert not set(rec.recommend("n0", k=60)["item_id"]) & {"i1", "i2", "i3", "fresh"}
    assert rec.rollback(report.generation) == report.generation
    assert rec.recommend("n0", k=5).equals(kept)


def test_an_update_counts_every_event_once(rec, tmp_path):
    rec.observe("u1", "i1")
    rec.update()
    rec.observe("u1", "i2")
    rows = rec._now.users.rows(["u1"])
    here = rec._now.users.histories(["u1"], rows)
    there = mr.load(tmp_path / "model")._now.users.histories(["u1"], rows)
    assert here.items.tolist() == there.items.tolist()
    assert here.items[-2:].tolist() == rec.items.encode(["i1", "i2"]).tolist()


def test_refit_learns_from_log_and_events(rec, log):
    rec.observe("newcomer", "brand-new")
    report = rec.refit()
    assert report.events == log.n_events + 1
    assert "brand-new" in rec.items
    assert "newcomer" in rec.users


def test_a_second_publisher_loses(rec, tmp_path):
    other = mr.load(tmp_path / "model")
    rec.observe("u1", "i1")
    rec.update()
    before = other.recommend("u2", k=5)
    other.observe("u2", "i2")
    with pytest.raises(ConflictError):
        other.update()
    assert other.generation != rec.generation
    assert not other.recommend("u2", k=5).is_empty()
    assert before.height == 5


def test_observing_while_updating_loses_nothing(rec):
    stop = threading.Event()
    seen: list[int] = []

    def observe() -> None:
        while not stop.is_set():
            rec.observe(f"t{len(seen)}", "i1")
            seen.append(1)

    rec.observe("u1", "i1")
    writer = threading.Thread(target=observe)
    writer.start()
    for _ in range(3):
        rec.observe("u1", "i2")
        rec.update()
    stop.set()
    writer.join()
    rec.recommend([f"t{place}" for place in range(len(seen))], k=1)
    rows = rec._now.users.rows([f"t{place}" for place in range(len(seen))])
    histories = rec._now.users.histories([f"t{place}" for place in range(len(seen))], rows)
    assert histories.lengths.tolist() == [1] * len(seen)


def test_tasks_from_a_column(events):
    log = mr.read_interactions(events, time="ts", event="type")
    rec = mr.Recommender(
        backbone="factors",
        meta_learner="none",
        clusterer="column",
        params={"clusterer": {"column": "market"}},
        min_task_size=20,
    )
    report = rec.fit(log)
    assert {row.n_tasks for row in report.tasks} == {1, 4}
    of_market = rec.recommend(history=[["i1"], ["i1"]], task=["market-0", "market-3"], k=5)
    assert of_market.height == 10
    with pytest.raises(UnknownIdError, match="market-0"):
        rec.recommend(history=[["i1"]], task="market-9")


def test_observers_hear_of_fits_and_batches(log, tmp_path):
    heard: list[str] = []

    class Observer:
        @mr.hookimpl
        def metarec_fit_finished(self, report):
            heard.append(f"{type(report).__name__} {report.events}")

        @mr.hookimpl
        def metarec_batch_ranked(self, request, result, elapsed_ns):
            heard.append(f"batch {len(request.histories)} {len(result)} {elapsed_ns > 0}")

    rec = mr.Recommender(**LIGHT, plugins={"watch": Observer()}, home=tmp_path / "home")
    rec.fit(log)
    rec.recommend(history=[["i1"], ["i2"]], k=3)
    assert heard == [f"FitReport {log.n_events}", "batch 2 2 True"]
    heard.clear()
    rec.observe("u1", "i2", "purchase")
    rec.update()
    rec.refit()
    assert heard == ["UpdateReport 1", f"FitReport {log.n_events + 1}"]


def test_report_is_json(log, fitted):
    report = mr.Recommender(**LIGHT, seed=3).fit(log)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["events"] == log.n_events
    assert {band.serves for band in report.bands} <= {"stack", *MEMBERS}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda rec: rec.recommend("u1", k=0), ArgumentError, "k must be a whole number from 1 to 10,000"),
        (lambda rec: rec.recommend("u1", k=10**9), ArgumentError, "from 1 to 10,000"),
        (lambda rec: rec.recommend("u1", k=2.5), ArgumentError, "whole number"),
        (lambda rec: rec.recommend(), ArgumentError, "either users"),
        (lambda rec: rec.recommend("u1", history=[["i1"]]), ArgumentError, "either users"),
        (lambda rec: rec.recommend("u999"), UnknownIdError, "'u999' is not known"),
        (lambda rec: rec.recommend([1]), MetarecError, "integers"),
        (lambda rec: rec.recommend(history=[["nope"]]), UnknownIdError, r"history\[0\]: item 'nope'"),
        (lambda rec: rec.recommend(history=["i1"]), ArgumentError, "list of lists"),
        (lambda rec: rec.recommend(history=[["i1"] * 10_001]), ArgumentError, "limit is 10,000"),
        (lambda rec: rec.recommend("u1", allow=["nope"]), UnknownIdError, "allow: item 'nope'"),
        (lambda rec: rec.recommend("u1", boosts={"i1": float("nan")}), ArgumentError, "must be finite"),
        (lambda rec: rec.recommend(history=[["i1"]], task="x"), ArgumentError, "clusterer='column'"),
        (lambda rec: rec.similar_items("nope"), UnknownIdError, "'nope'"),
        (lambda rec: rec.similar_items("i1", k=-1), ArgumentError, "k must be"),
        (lambda rec: rec.observe("u1", "i1", "purchse"), UnknownIdError, "Did you mean 'purchase'"),
        (lambda rec: rec.observe("u1", "i1", value=float("inf")), DataError, "value"),
        (lambda rec: rec.observe("", "i1"), DataError, "user_id"),
        (lambda rec: rec.observe(1, "i1"), DataError, "string"),
        (lambda rec: rec.observe("u1", "i1", timestamp=-5), DataError, "timestamp"),
        (lambda rec: rec.observe("u1", "i1", colour="red"), ArgumentError, "colour"),
        (lambda rec: rec.update(), DataError, "nothing was observed"),
        (lambda rec: rec.rollback(), ArgumentError, "first generation"),
        (lambda rec: rec.rollback("000009-000000000000"), UnknownIdError, "000009"),
    ],
)
def test_mistakes_are_told(rec, call, error, message):
    with pytest.raises(error, match=message):
        call(rec)
    assert rec.recommend("u1", k=3).height == 3


def test_unknown_items_can_be_ignored(fitted):
    assert fitted.recommend(history=[["nope", "i1"]], k=3, unknown="ignore").height == 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"backbone": "sasrek"}, UnknownIdError, "sasrec"),
        ({"backbone": "acme/stripes"}, MetarecError, "metarec-acme"),
        ({"seed": -1}, ArgumentError, "seed"),
        ({"history_limit": 0}, ArgumentError, "history_limit"),
        (
            {"backbone": "factors", "params": {"backbone": {"factor": 3}}},
            ArgumentError,
            "Did you mean 'factors'",
        ),
    ],
)
def test_a_recipe_is_checked_at_once(arguments, error, message):
    with pytest.raises(error, match=message):
        mr.Recommender(**{**LIGHT, **arguments})


def test_nothing_works_before_fit():
    rec = mr.Recommender(**LIGHT)
    for call in (
        lambda: rec.recommend("u1"),
        lambda: rec.observe("u1", "i1"),
        rec.update,
        lambda: rec.save("x"),
    ):
        with pytest.raises(NotFittedError):
            call()


def test_a_folder_that_is_no_model_or_was_damaged(rec, tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(ArtefactError, match="isn't a model folder"):
            mr.load(path)
    assert list((tmp_path / "empty").iterdir()) == []
    file = next((tmp_path / "model" / "generations").glob("*/head.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArtefactError, match=r"head\.safetensors"):
        mr.load(tmp_path / "model")
    # The one in memory goes on serving.
    assert rec.recommend("u1", k=3).height == 3


def test_saving_over_something_else_is_refused(fitted, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="isn't empty"):
        fitted.save(tmp_path)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_home_that_can_not_be_written_is_found_before_training(log, tmp_path):
    (tmp_path / "file").write_text("")
    rec = mr.Recommender(**LIGHT, home=tmp_path / "file" / "home")
    with pytest.raises(StorageError, match="model folder"):
        rec.fit(log)


def test_a_temporary_home_says_so(log):
    rec = mr.Recommender(**LIGHT)
    rec.fit(log)
    with pytest.warns(UserWarning, match="save"):
        rec.observe("u1", "i1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rec.observe("u1", "i2")
    assert "i2" not in rec.recommend("u1", k=60)["item_id"]


def test_a_large_batch_stays_within_its_memory(fitted):
    """100,000 histories in batches: what is held at once doesn't grow with their number."""
    import tracemalloc

    histories = [[f"i{place % 60 + 1}", f"i{place % 59 + 1}"] for place in range(100_000)]
    tracemalloc.start()
    lists = fitted.recommend(history=histories, k=5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lists.height == 500_000
    assert np.unique(lists["user_id"].to_numpy()).size == 100_000
    # 500,000 rows of the result are 12 MB; one dense score matrix alone would be 24 MB, the boosts 100 MB.
    assert peak < 120e6
