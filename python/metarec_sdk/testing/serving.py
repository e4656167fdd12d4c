"""Checks of the level *serves*: a whole recommender that uses the component."""

from __future__ import annotations

import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from metarec_sdk.testing.check import Level, check
from metarec_sdk.testing.samples import N_ITEMS, world
from metarec_sdk.testing.subject import Subject

SERVES = Level.SERVES
PEOPLE = ["u1", "u2", "u3"]


@dataclass(frozen=True)
class Service:
    """A recommender that was fitted with the component, and what it said."""

    recommender: Any
    lists: pl.DataFrame


_SERVICES: weakref.WeakKeyDictionary[Subject, Service] = weakref.WeakKeyDictionary()
"""One fit for all checks of a subject."""


def _unfitted(subject: Subject) -> Any:
    from metarec_sdk.recommender import Recommender

    light = {"backbone": "factors", "meta_learner": "none", "clusterer": "none"}
    chosen: dict[str, Any] = light | {subject.kind: subject.name}
    params = {"backbone": {"factors": 8}} if subject.kind != "backbone" else {}
    if subject.params:
        params[subject.kind] = subject.params
    return Recommender(
        **chosen, params=params, plugins=subject.plugins, seed=4, min_task_size=8, progress=False
    )


def _service(subject: Subject) -> Service:
    if subject not in _SERVICES:
        recommender = _unfitted(subject)
        recommender.fit(_log(), items=world().items, users=_people())
        _SERVICES[subject] = Service(recommender, recommender.recommend(PEOPLE, k=5))
    return _SERVICES[subject]


def _log() -> Any:
    from metarec_sdk.data import Interactions

    return Interactions(world().events)


def _people() -> pl.DataFrame:
    users = world().events["user_id"].unique().sort()
    return pl.DataFrame({"user_id": users, "segment": [f"s{len(user) % 2}" for user in users]})


@check(SERVES)
def fits_and_recommends(subject: Subject) -> None:
    """A recommender with it fits a small log and fills the lists of known people."""
    lists = _service(subject).lists
    per_person = dict(lists.group_by("user_id").len().iter_rows())
    assert subject.kind == "rule" or per_person == dict.fromkeys(PEOPLE, 5), f"lists are {per_person} long"
    assert lists["score"].is_finite().all(), "a score isn't finite"


@check(SERVES)
def serves_without_fallback(subject: Subject) -> None:
    """While it served, nothing failed behind the host's back."""
    recommender = _service(subject).recommender
    recommender.recommend(history=[["i1", "i2"], []], k=5)
    failed = [record for record in recommender.plugins.records if record.failures]
    assert not failed, f"{failed[0].failures} failures, the last: {failed[0].last_failure}" if failed else ""


@check(SERVES)
def serves_somebody_new(subject: Subject) -> None:
    """A history that was never seen, and an empty one, get lists."""
    lists = _service(subject).recommender.recommend(history=[["i1", "i2"], []], k=5)
    assert set(lists["user_id"]) == {0, 1} or subject.kind == "rule", "somebody new gets no list"


@check(SERVES)
def seen_items_stay_away(subject: Subject) -> None:
    """What a person has seen, and what is denied, never comes back."""
    lists = _service(subject).recommender.recommend(PEOPLE, k=N_ITEMS, deny=["i5"])
    pairs = set(lists.select("user_id", "item_id").iter_rows())
    seen = set(world().events.select("user_id", "item_id").iter_rows())
    assert not pairs & seen, "an item of the history is recommended"
    assert "i5" not in set(lists["item_id"]), "a denied item is recommended"


@check(SERVES)
def same_seed_same_lists(subject: Subject) -> None:
    """Another recommender of the same seed gives the same lists."""
    again = _unfitted(subject)
    again.fit(_log(), items=world().items, users=_people())
    assert again.recommend(PEOPLE, k=5).equals(_service(subject).lists), "lists differ at the same seed"


@check(SERVES)
def saved_and_loaded(subject: Subject) -> None:
    """A saved model gives the same lists when it is loaded."""
    from metarec_sdk.recommender import load

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model"
        copy = _unfitted(subject)
        copy.fit(_log(), items=world().items, users=_people())
        copy.save(target)
        loaded = load(target, plugins=subject.plugins, progress=False)
        assert loaded.recommend(PEOPLE, k=5).equals(copy.recommend(PEOPLE, k=5)), "lists differ after loading"
        assert subject.plugin in str(loaded.plugins.find(subject.kind, subject.name).origin())


@check(SERVES)
def learns_from_events(subject: Subject) -> None:
    """Events of a known and of a new person are taken in, and `update` publishes a generation."""
    with tempfile.TemporaryDirectory() as folder:
        recommender = _unfitted(subject)
        recommender.fit(_log(), items=world().items, users=_people())
        recommender.save(Path(folder) / "model")
        before = recommender.generation
        recommender.observe("u1", "i29", "click")
        recommender.observe("somebody-new", "i3", "purchase")
        recommender.observe("somebody-new", "brand-new-item", "click")
        recommender.update()
        assert recommender.generation != before
        shown = recommender.recommend(["u1", "somebody-new"], k=5)
        assert "i29" not in set(shown.filter(pl.col("user_id") == "u1")["item_id"])
