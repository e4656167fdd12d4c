"""Checks of the level *serves*: a whole recommender that uses the component."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
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

    @contextmanager
    def loaded(self, subject: Subject) -> Iterator[Any]:
        """A copy that was saved elsewhere and loaded."""
        from metarec_sdk.recommender import load

        with tempfile.TemporaryDirectory() as folder:
            target = self.recommender.save(Path(folder) / "model")
            yield load(target, plugins=subject.plugins, progress=False)


_SERVICES: weakref.WeakKeyDictionary[Subject, Service] = weakref.WeakKeyDictionary()
"""One fit for all checks of a subject."""


def _service(subject: Subject) -> Service:
    if subject not in _SERVICES:
        home = tempfile.mkdtemp()  # a home of its own: a recommender without one moves to where it is saved
        weakref.finalize(subject, shutil.rmtree, home, ignore_errors=True)
        recommender = _fitted(subject, home)
        _SERVICES[subject] = Service(recommender, recommender.recommend(PEOPLE, k=5))
    return _SERVICES[subject]


def _fitted(subject: Subject, home: str | None = None) -> Any:
    from metarec_sdk.data import Interactions
    from metarec_sdk.recommender import Recommender

    light = {"backbone": "factors", "meta_learner": "none", "clusterer": "none"}
    chosen: dict[str, Any] = light | {subject.kind: subject.name}
    params = {"backbone": {"factors": 8}} if subject.kind != "backbone" else {}
    if subject.params:
        params[subject.kind] = subject.params
    recommender = Recommender(
        **chosen, params=params, plugins=subject.plugins, seed=4, min_task_size=8, home=home, progress=False
    )
    given = world()
    recommender.fit(Interactions(given.events), items=given.items, users=given.users)
    return recommender


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
    again = _fitted(subject)
    assert again.recommend(PEOPLE, k=5).equals(_service(subject).lists), "lists differ at the same seed"


@check(SERVES)
def saved_and_loaded(subject: Subject) -> None:
    """A saved model gives the same lists when it is loaded."""
    service = _service(subject)
    with service.loaded(subject) as copy:
        assert copy.recommend(PEOPLE, k=5).equals(service.lists), "lists differ after loading"
        assert subject.plugin in str(copy.plugins.find(subject.kind, subject.name).origin())


@check(SERVES)
def learns_from_events(subject: Subject) -> None:
    """Events of a known and of a new person are taken in, and `update` publishes a generation."""
    with _service(subject).loaded(subject) as copy:
        before = copy.generation
        copy.observe("u1", "i29", "click")
        copy.observe("somebody-new", "i3", "purchase")
        copy.observe("somebody-new", "brand-new-item", "click")
        copy.update()
        assert copy.generation != before
        shown = copy.recommend(["u1", "somebody-new"], k=5)
        assert "i29" not in set(shown.filter(pl.col("user_id") == "u1")["item_id"])
