"""Hostile plugins inside a recommender: what the boundary contains, and what it can't."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

import metarec_sdk as mr
from metarec_sdk.errors import MetarecError, PluginError
from metarec_sdk.plugins import PluginManager, Status
from metarec_sdk.types import Histories

HOSTILE = Path(__file__).parent / "hostile_plugin.py"
LIGHT = {"backbone": "factors", "meta_learner": "none", "clusterer": "none", "seed": 3}


def hostile_module() -> SimpleNamespace:
    """The module as a recommender loads it."""
    PluginManager([HOSTILE], enabled=False)
    return next(m for name, m in sys.modules.items() if name.startswith("metarec_plugin_hostile_plugin"))


DEEDS = hostile_module()


class NoOddItems:
    """The neighbour: a rule of another plugin."""

    def fit(self, items, vectors):
        self.odd = (items["item_id"].str.slice(1).cast(pl.Int64) % 2 == 1).to_numpy()

    def forbidden(self, histories, candidates):
        return self.odd[candidates.items]


class Neighbour:
    @mr.hookimpl
    def metarec_register_rules(self, register):
        register("even", NoOddItems)


def recommender(log, **params):
    rec = mr.Recommender(
        **LIGHT,
        reranker="hostile-plugin/reranker",
        rule="neighbour/even",
        plugins=[HOSTILE, Neighbour()],
        params={"reranker": params},
    )
    rec.fit(log)
    return rec


@pytest.fixture(scope="module")
def log(events):
    return mr.read_interactions(events, time="ts")


@pytest.fixture(scope="module")
def rec(log):
    return recommender(log)


@pytest.fixture(scope="module")
def expected(rec):
    return rec.recommend(["u1", "u2"], k=5)


@pytest.fixture
def misbehave(rec):
    """``misbehave(at, do)`` from now on."""
    reranker = rec._now.shaping.reranker

    def tell(at: str, do: str = "error") -> None:
        reranker.at, reranker.do = at, do

    yield tell
    tell("never")


def failures(rec) -> dict[str, int]:
    return {record.name: record.failures for record in rec.plugins.records}


@pytest.mark.parametrize(
    ("at", "do"),
    [
        *(("rescore", deed) for deed in DEEDS.RAISES),
        *(("result", deed) for deed in DEEDS.RETURNS),
        ("arguments", "error"),
    ],
)
def test_while_serving_the_exact_order_answers_and_the_failure_is_counted(rec, expected, misbehave, at, do):
    before = failures(rec)
    misbehave(at, do)
    assert rec.recommend(["u1", "u2"], k=5).equals(expected)
    after = failures(rec)
    assert after == before | {"hostile-plugin": before["hostile-plugin"] + 1}
    (record,) = [record for record in rec.plugins.records if record.name == "hostile-plugin"]
    assert record.last_failure.startswith("reranker 'hostile-plugin/reranker': ")
    assert len(record.last_failure) < 2000


@pytest.mark.parametrize("do", DEEDS.RAISES)
def test_at_fit_an_exception_comes_out_and_what_was_published_goes_on(rec, expected, do):
    generation = rec.generation
    hostile_reranker = type(rec._now.shaping.reranker._component)
    original = hostile_reranker.fit
    hostile_reranker.fit = lambda self, items, vectors: DEEDS.RAISES[do]()
    try:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - no BaseException, whatever is raised
            rec.refit()
    finally:
        hostile_reranker.fit = original
    if do not in ("no notes", "own notes"):
        assert "plugin hostile-plugin" in "".join(caught.value.__notes__)
    assert rec.generation == generation
    assert rec.recommend(["u1", "u2"], k=5).equals(expected)


@pytest.mark.parametrize("do", DEEDS.RAISES)
def test_at_construction_an_exception_comes_out_and_the_neighbour_is_built(do):
    manager = PluginManager([HOSTILE, Neighbour()], enabled=False)
    with pytest.raises(Exception):  # noqa: B017, PT011 - no BaseException, whatever is raised
        manager.create("reranker", "hostile-plugin/reranker", {"at": "construction", "do": do})
    assert manager.create("rule", "neighbour/even") is not None


@pytest.mark.parametrize("do", DEEDS.RAISES)
@pytest.mark.parametrize("strict", [False, True])
def test_at_registration_it_is_a_record_and_the_neighbour_is_loaded(plugin, do, strict):
    def registers(register):
        register("fine", NoOddItems)
        DEEDS.RAISES[do]()

    bad = plugin(metarec_register_rules=registers)
    if strict:
        with pytest.raises(BaseException):  # noqa: B017, PT011 - strict mode raises what it raised
            PluginManager({"bad": bad}, enabled=False, strict=True)
        return
    manager = PluginManager({"bad": bad, "neighbour": Neighbour()}, enabled=False)
    status = {record.name: record.status for record in manager.records}
    assert (status["bad"], status["neighbour"]) == (Status.FAILED, Status.LOADED)
    assert [record.name for record in manager.components("rule") if not record.builtin] == ["neighbour/even"]


@pytest.mark.parametrize("do", DEEDS.RAISES)
def test_an_observer_is_counted_and_the_next_one_hears(plugin, do):
    heard = []
    manager = PluginManager(
        {
            "bad": plugin(metarec_fit_finished=lambda report: DEEDS.RAISES[do]()),
            "good": plugin(metarec_fit_finished=lambda report: heard.append(report)),
        },
        enabled=False,
    )
    manager.fit_finished("report")
    assert heard == ["report"]
    failed = {record.name: record.failures for record in manager.records}
    assert (failed["bad"], failed["good"]) == (1, 0)


def test_in_strict_mode_an_observer_that_exits_raises_an_error(plugin):
    leaves = plugin(metarec_fit_finished=lambda report: sys.exit(0))
    manager = PluginManager({"bad": leaves}, enabled=False, strict=True)
    with pytest.raises(PluginError, match=r"plugin bad: metarec_fit_finished called sys\.exit"):
        manager.fit_finished("report")


@pytest.mark.parametrize("at", ["construction", "fit", "rescore"])
def test_ctrl_c_is_the_users(log, at):
    """It can't be told from one that the plugin raises."""
    with pytest.raises(KeyboardInterrupt):
        recommender(log, at=at, do="Ctrl-C").recommend("u1")


SEEN = {
    "environment": lambda: os.environ.pop("HOSTILE", None) is not None,
    "folder": lambda: Path.cwd() == Path("/"),
    "sys.path": lambda: "/hostile" in sys.path,
    "seed": lambda: np.random.get_state(legacy=False)["state"]["key"][0] == 666,  # noqa: NPY002
    "warning filters": lambda: warnings.filters[0][0] == "ignore",
    "signal handler": lambda: signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN,
    "recursion limit": lambda: sys.getrecursionlimit() == 5000,
    "thread": lambda: "left" in {thread.name for thread in threading.enumerate()},
    "monkeypatch": lambda: np.argsort is sorted,
    "prints": None,
}


@pytest.mark.parametrize("do", DEEDS.CHANGES)
def test_what_it_changes_in_the_process_stays_changed(
    rec, expected, misbehave, do, monkeypatch, tmp_path, capsys
):
    """An imported plugin is trusted: the list is right, but nothing puts the process back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(np, "argsort", np.argsort)
    limit, handler = sys.getrecursionlimit(), signal.getsignal(signal.SIGUSR1)
    misbehave("rescore", do)
    before = failures(rec)
    try:
        with warnings.catch_warnings():
            answer = rec.recommend(["u1", "u2"], k=5)
            seen = "hostile" in capsys.readouterr().out if do == "prints" else SEEN[do]()
    finally:
        sys.setrecursionlimit(limit)
        signal.signal(signal.SIGUSR1, handler)
    assert seen
    assert answer.equals(expected)
    assert failures(rec) == before


def member(kind: str, base: type, **methods):
    """A plugin ``acme`` with a component ``it``: ``base`` whose methods misbehave once ``broken`` is set."""
    target = type("It", (base,), {"broken": False})

    def switched(name, deed):
        right = getattr(base, name)
        return lambda self, *given, **named: (
            deed(right(self, *given, **named)) if target.broken else right(self, *given, **named)
        )

    for name, deed in methods.items():
        setattr(target, name, switched(name, deed))

    def hook(register):
        register("it", target)

    plural = {"item_item": "item_item_members", "feedback": "feedback_models"}.get(kind, f"{kind}s")
    return target, {"acme": SimpleNamespace(**{f"metarec_register_{plural}": mr.hookimpl(hook)})}


def wider(found):
    return np.concatenate([found, found], axis=1)


def beyond(found):
    return found[0], found[1] + np.int32(1000), found[2]


def backwards(found):
    return found[0], found[1][::-1], found[2]


def test_members_that_fail_leave_the_answer_to_the_others(log, right):
    """Also where only the host knows that a result is wrong: its width, or an item beyond the catalogue."""
    for kind, method, deed in [
        ("backbone", "encode", wider),
        ("head", "query", wider),
        ("item_item", "boosts", beyond),
        ("item_item", "boosts", backwards),
    ]:
        target, plugins = member(kind, right[kind], **{method: deed})
        rec = mr.Recommender(**LIGHT | {kind: "acme/it"}, plugins=plugins)
        rec.fit(log)
        target.broken = True
        answer = rec.recommend(history=[["i1", "i2"], []], k=5)
        assert answer.height == 10
        assert failures(rec)["acme"] > 0, (kind, deed)


def test_a_feedback_model_that_fails_gives_an_event_the_average_weight(log, right):
    target, plugins = member("feedback", right["feedback"], weigh=lambda found: sys.exit(1))
    rec = mr.Recommender(**LIGHT, feedback="acme/it", plugins=plugins)
    rec.fit(log)
    target.broken = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the recommender has no folder of its own
        rec.observe("u1", "i60", "purchase")
    assert "i60" not in set(rec.recommend("u1", k=60)["item_id"])
    assert failures(rec)["acme"] == 1


@pytest.mark.parametrize(
    "state",
    [
        {"thing": np.array([object()])},
        {"thing": [1, 2]},
        {"thing": np.array([np.nan])},
        {7: np.zeros(1)},
    ],
    ids=["objects", "a list", "NaN", "a name that is no text"],
)
def test_a_state_that_is_no_arrays_is_refused_and_what_was_published_goes_on(log, right, state):
    target, plugins = member("feedback", right["feedback"], state=lambda found: state)
    rec = mr.Recommender(**LIGHT, feedback="acme/it", plugins=plugins)
    rec.fit(log)
    before, generation = rec.recommend("u1", k=5), rec.generation
    target.broken = True
    with pytest.raises(MetarecError, match="feedback"):
        rec.refit()
    assert rec.generation == generation
    assert rec.recommend("u1", k=5).equals(before)


def test_more_tasks_than_users_are_refused(log, right):
    target, plugins = member(
        "clusterer", right["clusterer"], assign=lambda found: found + np.int32(2**31 - 9)
    )
    target.memberships, target.broken = None, True
    rec = mr.Recommender(**LIGHT | {"clusterer": "acme/it"}, plugins=plugins, min_task_size=2)
    with pytest.raises(PluginError, match=r"task 2,147,483,6\d\d for \d+ users"):
        rec.fit(log)


@pytest.mark.parametrize("soft", [True, False])
def test_a_task_that_nobody_had_at_the_fit_is_the_parent(log, right, soft):
    """What the host learned for tasks ends at the largest one of the fit."""
    from metarec_sdk.recommender.task_model import TaskModel

    x = np.eye(4, 2, dtype=np.float32)
    clusterer = right["clusterer"]()
    clusterer.fit(x, np.random.default_rng(1))
    if not soft:
        clusterer.memberships = None
    tasks = TaskModel(clusterer, 2, x, 0)
    found = tasks.memberships(Histories.from_lists([[0], [1], [2]]))
    assert found.tasks[:, 0].tolist() == [0, 1, -1]
