"""Each check of a contract can fail: a component with one defect, which it finds, and its twin, which passes.

A defect is a change of one method of the twin. All checks of the level are run on it, so that a check that
finds what is another one's matter is noticed; where one defect can't but break several, ``also`` names them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from metarec_sdk.plugins import KINDS
from metarec_sdk.testing import CHECKS, Level, Outcome, conforming
from metarec_sdk.types import Memberships, MetaFit

MINUS_INFINITY = np.float32(-np.inf)


@dataclass(frozen=True)
class Wrong:
    """A twin with one defect."""

    kind: str
    defect: dict[str, Any]
    """Members in place of the twin's; a method gets its twin's method first."""
    also: frozenset[str] = frozenset()
    alone: bool = False
    """Run no other check: the defect takes time, or damages the sample."""

    def component(self, base: type) -> type:
        members = {name: _instead(base, name, what) for name, what in self.defect.items()}
        return type("Wrong", (base,), members)


def _instead(base: type, name: str, what: Any) -> Any:
    if not callable(what):
        return what
    right = getattr(base, name)
    return lambda self, *given, **named: what(self, lambda *a, **n: right(self, *a, **n), *given, **named)


def wrong(kind: str, *, also: Iterable[str] = (), alone: bool = False, **defect: Any) -> Wrong:
    return Wrong(kind, defect, frozenset(also), alone)


def refuse(when: Callable[..., Any]) -> Callable[..., Any]:
    """A method that raises for some arguments and else does what the twin does."""

    def method(self, right, *given, **named):
        if when(*given, **named):
            raise ValueError("not that")
        return right(*given, **named)

    return method


def changed(change: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose result is changed: ``change(result, *arguments)``."""
    return lambda self, right, *given, **named: change(right(*given, **named), *given, **named)


def lengths_of(lists) -> np.ndarray:
    return np.repeat(np.diff(lists.offsets), np.diff(lists.offsets))


def firsts_of(lists, where) -> np.ndarray:
    """bool[o], the first of each list for whose length ``where`` holds."""
    mask = np.zeros(len(lists.items), bool)
    lengths = np.diff(lists.offsets)
    mask[lists.offsets[:-1][(lengths > 0) & where(lengths)]] = True
    return mask


def padded(boosts, histories):
    """An empty history gets item 0."""
    offsets, items, scores = boosts
    empty = offsets[:-1][histories.lengths == 0]
    more = np.concatenate([[0], np.cumsum(histories.lengths == 0)])
    return offsets + more, np.insert(items, empty, np.int32(0)), np.insert(scores, empty, np.float32(1))


def counting(self, right, *given):
    self.asked = getattr(self, "asked", 0) + 1
    return right(*given) + np.float32(self.asked)


def crowded(self, right, *given):
    """Answers differ while another thread asks."""
    self.inside = getattr(self, "inside", 0) + 1
    time.sleep(0.02)
    others = self.inside - 1
    self.inside -= 1
    return right(*given) + np.float32(others)


def lending(self, right, histories, candidates, k):
    kept = vars(self).setdefault("kept", {})
    return kept.setdefault(
        (candidates.scores.tobytes(), candidates.items.tobytes()), right(histories, candidates, k)
    )


def shares_a_draw(self, right, log, rng, *rest):
    right(log, rng, *rest)
    type(self).shift = np.float32(1 + rng.random())


def into_its_own_arrays(self, right, x):
    kept = self.centres
    right(x)
    if kept is not None and kept.shape == self.centres.shape:
        kept[:] = self.centres
        self.centres = kept


def fits_counted(self, right, items, vectors):
    right(items, vectors)
    self.fits = getattr(self, "fits", 0) + 1
    self.bonus = self.bonus + np.float32(self.fits)


def draws_at_random(self, right):
    right()
    self.noise = np.random.default_rng().normal(0, 1, 1000).astype(np.float32)


def doubled(boosts, histories):
    offsets, items, scores = boosts
    return offsets * 2, np.repeat(items, 2), np.repeat(scores, 2)


def overwrites(self, right, histories, candidates, k):
    scores = right(histories, candidates, k)
    candidates.scores[:] = 0
    return scores


def overwrites_at_fit(self, right, items, vectors):
    right(items, vectors)
    vectors[:] = 0


def forgets_its_scale(self, right, state):
    right(state)
    self._scale *= 2


def mean_surprise(found, events):
    return found / events.group_by("user_id").len().sort("user_id")["len"].to_numpy()


def soft_elsewhere(found, x):
    return Memberships(found.tasks[:, ::-1].copy(), found.weights)


CONFORMS = {
    "matrix-covers-the-catalogue": wrong("head", item_matrix=changed(lambda found: found[:-1])),
    "vector-has-the-matrix-width": wrong(
        "head",
        query=changed(lambda found, *_: np.ascontiguousarray(found[:, :-1])),
        also=["results-have-their-form", "empty-batch", "one-row", "long-history"],
    ),
    "histories-matter": wrong("backbone", encode=changed(lambda found, _: np.ones_like(found))),
    "long-history": wrong(
        "item_item", boosts=refuse(lambda histories: histories.lengths.max(initial=0) > 999)
    ),
    "fits-people-without-events": wrong(
        "head", fit=refuse(lambda log, *_: (log.histories.lengths == 0).any())
    ),
    "memberships-accepted": wrong(
        "head", query=changed(lambda found, _, memberships=None: found + np.float32(memberships is not None))
    ),
    "boosts-name-items-once": wrong("item_item", boosts=changed(doubled)),
    "nothing-from-nothing": wrong("item_item", boosts=changed(padded)),
    "column-is-a-name-or-none": wrong("clusterer", column=3),
    "nan-refused": wrong(
        "clusterer",
        learn=lambda self, right, x: right(np.nan_to_num(x)),
        assign=lambda self, right, x: right(np.nan_to_num(x)),
    ),
    "other-width-refused": wrong("clusterer", assign=lambda self, right, x: right(x[:, :5])),
    "few-or-equal-people": wrong("clusterer", fit=refuse(lambda x, rng: len(x) < 2)),
    "memberships-agree": wrong("clusterer", memberships=changed(soft_elsewhere)),
    "one-task-is-enough": wrong("meta_learner", fit=refuse(lambda *_, n_tasks, **__: n_tasks == 0)),
    "learning-goes-on-from-a-start": wrong(
        "meta_learner", fit=refuse(lambda *_, start=None, **__: start is not None)
    ),
    "head-arrays-fit-the-head": wrong(
        "meta_learner",
        fit=changed(
            lambda found, *_, **__: MetaFit({}, {"prior_mean": np.zeros((1, 3), np.float32)}, [], {})
        ),
    ),
    "structure-is-told": wrong(
        "meta_learner", fit=changed(lambda found, *_, **__: MetaFit({}, {}, [{"task": 0}], {}))
    ),
    "types-never-seen": wrong("feedback", __init__=lambda self, right: right(strict=True)),
    "values-may-be-missing": wrong("feedback", fit=refuse(lambda events: events["value"].is_null().all())),
    "times-may-be-missing": wrong("behaviour", fit=refuse(lambda events, rng: "timestamp" not in events)),
    "ids-may-be-integers": wrong(
        "behaviour", features=refuse(lambda events: events["user_id"].dtype.is_integer())
    ),
    "likelihood-adds-up": wrong("behaviour", log_likelihood=changed(mean_surprise)),
    "an-event-counts": wrong("feedback", weigh=changed(lambda found, _: (found[0], np.zeros_like(found[1])))),
    "an-event-alone": wrong("feedback", weigh=refuse(lambda events: len(events) == 1)),
    "fits-in-time": wrong(
        "rule", fit=lambda self, right, *given: (time.sleep(0.6), right(*given)), alone=True
    ),
    "results-have-their-form": wrong(
        "content",
        encode=changed(lambda found, items: found.astype(float) if items.shape == (30, 7) else found),
    ),
    "empty-batch": wrong("content", encode=refuse(lambda items: items.is_empty())),
    "one-row": wrong("content", encode=refuse(lambda items: len(items) == 1)),
    "rows-are-independent": wrong(
        "reranker", rescore=changed(lambda found, _, candidates, k: found - candidates.scores.sum())
    ),
    "read-only-arguments": wrong(
        "reranker",
        rescore=lambda self, right, histories, candidates, k: (
            candidates.items.__setitem__(slice(None), candidates.items.copy()),
            right(histories, candidates, k),
        )[1],
    ),
    "strided-arguments": wrong(
        "reranker",
        rescore=changed(
            lambda found, _, candidates, k: np.lib.stride_tricks.as_strided(
                candidates.scores, strides=(candidates.scores.itemsize,)
            ).copy()
        ),
    ),
    "arguments-unchanged": wrong("reranker", rescore=overwrites, alone=True),
    "same-question-same-answer": wrong(
        "reranker",
        rescore=counting,
        also=[
            "rows-are-independent",
            "strided-arguments",
            "instances-are-independent",
            "fitting-again-starts-anew",
            "results-are-owned",
            "threads-agree",
        ],
    ),
    "same-seed-same-bytes": wrong(
        "reranker",
        __init__=draws_at_random,
        rescore=lambda self, right, *given: right(*given) + self.noise[0],
    ),
    "global-random-state-unchanged": wrong(
        "reranker",
        fit=lambda self, right, *given: (np.random.random(), right(*given)),  # noqa: NPY002
    ),
    "instances-are-independent": wrong(
        "item_item",
        fit=shares_a_draw,
        boosts=lambda self, right, *given: (*(found := right(*given))[:2], found[2] * type(self).shift),
    ),
    "fitting-again-starts-anew": wrong("reranker", fit=fits_counted),
    "unfitted-refused": wrong(
        "reranker",
        rescore=lambda self, right, histories, candidates, k: (
            candidates.scores * 0 if self.bonus is None else right(histories, candidates, k)
        ),
    ),
    "results-are-owned": wrong("reranker", rescore=lending),
    "threads-agree": wrong("reranker", rescore=crowded),
    "state-is-arrays": wrong("clusterer", state=changed(lambda found: {**found, "names": [1, 2]})),
    "state-comes-back": wrong("feedback", restore=forgets_its_scale),
    "state-outlives-a-fit": wrong("clusterer", learn=into_its_own_arrays),
    "damaged-state-refused": wrong(
        "clusterer", restore=lambda self, right, state: right(state) if state else None
    ),
    "answers-in-time": wrong(
        "rule", forbidden=lambda self, right, *given: (time.sleep(0.3), right(*given))[1], alone=True
    ),
    "answers-in-memory": wrong(
        "rule", forbidden=lambda self, right, *given: (np.empty(300 << 20, np.uint8), right(*given))[1]
    ),
    "unlisted-is-zero": wrong("content", encode=changed(lambda found, items: found + (items.width > 1))),
    "same-content-same-vector": wrong(
        "content",
        encode=changed(lambda found, _: found * np.arange(1, len(found) + 1, dtype=np.float32)[:, None]),
    ),
    "ids-alone-are-enough": wrong("content", encode=refuse(lambda items: items.width == 1)),
    "longer-than-the-catalogue": wrong("reranker", rescore=refuse(lambda *given: given[2] > 30)),
    "a-list-is-left": wrong("reranker", rescore=changed(lambda found, *_: np.full_like(found, -np.inf))),
    "equal-scores": wrong(
        "reranker",
        rescore=refuse(lambda _, given, k: len(given.scores) > 1 and not np.ptp(given.scores)),
    ),
    "what-is-left-is-allowed": wrong(
        "rule", forbidden=changed(lambda found, _, given: firsts_of(given, lambda lengths: lengths > 8))
    ),
    "sublists-are-allowed": wrong(
        "rule",
        forbidden=changed(
            lambda found, _, given: firsts_of(given, lambda lengths: (lengths > 1) & (lengths < 8))
        ),
    ),
    "knows-new-items": wrong(
        "reranker",
        fit=lambda self, right, *given: right(*given) if self.bonus is None else None,
    ),
}


@pytest.fixture
def quick(monkeypatch):
    """Limits of time that a test can wait for."""
    monkeypatch.setattr(conforming, "FIT_SECONDS", 0.5)
    monkeypatch.setattr(conforming, "ASK_SECONDS", 0.25)


@pytest.mark.parametrize("name", CONFORMS)
def test_a_defect_fails_its_check_and_no_other(name, quick, right, as_subject, outcomes):
    case = CONFORMS[name]
    wrong = as_subject(case.kind, case.component(right[case.kind]))
    found = outcomes(wrong, Level.CONFORMS, [name] if case.alone else None)
    assert set(found[Outcome.FAILED]) == {name} | case.also


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_twins_pass_every_check(kind, right, as_subject, outcomes):
    found = outcomes(as_subject(kind, right[kind]), Level.CONFORMS)
    assert set(found) == {Outcome.PASSED}


def test_no_check_is_missing():
    assert set(CONFORMS) == {check.name for check in CHECKS.values() if check.level is Level.CONFORMS}
