"""Checks of the level *conforms* for components that know people: their histories and what they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from metarec_sdk.plugins.boundary import RESULTS
from metarec_sdk.testing.cases import learn
from metarec_sdk.testing.check import Level, Skip, check
from metarec_sdk.testing.samples import N_ITEMS, UNSEEN, trained, world
from metarec_sdk.testing.subject import Subject
from metarec_sdk.types import Histories, Memberships, TrainingLog

CONFORMS = Level.CONFORMS


@check(CONFORMS, "backbone", "head")
def matrix_covers_the_catalogue(subject: Subject) -> None:
    """The item matrix has a row for every item, also for one that nobody took."""
    rows = len(subject.ready.item_matrix())
    assert rows == N_ITEMS, f"item_matrix() has {rows} rows for {N_ITEMS} items"


@check(CONFORMS, "backbone", "head")
def vector_has_the_matrix_width(subject: Subject) -> None:
    """A person's vector is as wide as the item matrix."""
    answers = subject.ask(subject.ready)
    vectors = answers["encode" if subject.kind == "backbone" else "query"]
    width = answers["item_matrix"].shape[1]
    assert vectors.shape[1] == width, f"vectors are {vectors.shape[1]} wide, the item matrix is {width}"


@check(CONFORMS, "backbone", "head")
def histories_matter(subject: Subject) -> None:
    """People with different histories get different vectors."""
    answers = subject.ask(subject.ready)
    vectors = answers["encode" if subject.kind == "backbone" else "query"]
    distinct = len(np.unique(np.round(vectors[5:], 6), axis=0))
    assert distinct > 1, "everybody gets the same vector"


@check(CONFORMS, "backbone", "head", "item_item")
def long_history(subject: Subject) -> None:
    """A history of 5,000 events is answered like any other."""
    long = Histories.from_lists([[place % UNSEEN for place in range(5000)]])
    for method, answer in subject.ask(subject.ready, (long,)).items():
        RESULTS[subject.kind, method](subject.ready, (long,), answer, True)


@check(CONFORMS, "backbone", "head", "item_item")
def fits_people_without_events(subject: Subject) -> None:
    """A log in which some people have no events can be learned from."""
    rows = [list(map(int, row)) for row in world().log.histories]
    log = TrainingLog(Histories.from_lists([[], *rows, []]), N_ITEMS)
    component = subject.new()
    component.fit(log, np.random.default_rng(1))
    subject.ask(component)


@check(CONFORMS, "head")
def memberships_accepted(subject: Subject) -> None:
    """`query` takes memberships, and everybody at the parent is as good as none."""
    histories = world().histories
    alone = subject.ready.query(histories)
    parent = subject.ready.query(histories, Memberships.parent(len(histories)))
    np.testing.assert_allclose(parent, alone, rtol=1e-4, atol=1e-5)


@check(CONFORMS, "item_item")
def boosts_name_items_once(subject: Subject) -> None:
    """Each boosted item is of the catalogue and comes once in a row."""
    offsets, items, _ = subject.ready.boosts(world().histories)
    assert not len(items) or items.max() < N_ITEMS, f"item {items.max()} isn't among {N_ITEMS} items"
    for row in np.split(items, offsets[1:-1]):
        assert len(np.unique(row)) == len(row), "an item comes twice in a row; add its scores up"


@check(CONFORMS, "item_item")
def nothing_from_nothing(subject: Subject) -> None:
    """An empty history has no neighbours."""
    _, items, _ = subject.ready.boosts(Histories.from_lists([[], []]))
    assert len(items) == 0, "an empty history gets boosts; that is what popularity is for"


@check(CONFORMS, "clusterer")
def column_is_a_name_or_none(subject: Subject) -> None:
    """`column` is None, or the name of the column that holds the tasks."""
    column = subject.new().column
    assert column is None or isinstance(column, str), f"column is {column!r}"


@check(CONFORMS, "clusterer")
def nan_refused(subject: Subject) -> None:
    """Features with NaN are refused, by fit and by assign."""
    bad = subject.inputs[0].copy()
    bad[3, -1] = np.nan
    for name, call in (
        ("fit", lambda: subject.new().fit(bad, np.random.default_rng(1))),
        ("assign", lambda: subject.ready.assign(bad)),
    ):
        _refuses(call, f"{name} takes NaN; raise metarec_sdk.DataError that names row and column")


@check(CONFORMS, "clusterer")
def other_width_refused(subject: Subject) -> None:
    """Features of another width than at the fit are refused."""
    wide = np.concatenate([*subject.inputs, world().features], axis=1)
    _refuses(lambda: subject.ready.assign(wide), "assign takes features that fit didn't see")


@check(CONFORMS, "clusterer")
def few_or_equal_people(subject: Subject) -> None:
    """One person, or people who are all alike, can be grouped."""
    for x in (subject.inputs[0][:1], np.ones_like(subject.inputs[0][:6])):
        component = subject.new()
        component.fit(x, np.random.default_rng(1))
        RESULTS["clusterer", "assign"](component, (x,), component.assign(x), True)


@check(CONFORMS, "clusterer")
def memberships_agree(subject: Subject) -> None:
    """The task of most weight in `memberships` is the one that `assign` gives."""
    if not hasattr(subject.ready, "memberships"):
        raise Skip("it has no memberships")
    (x,) = subject.inputs
    soft, hard = subject.ready.memberships(x), subject.ready.assign(x)
    first = soft.tasks[np.arange(len(x)), soft.weights.argmax(1)]
    assert (first == hard).mean() > 0.9, f"they differ for {int((first != hard).sum())} of {len(x)} people"


@check(CONFORMS, "meta_learner")
def one_task_is_enough(subject: Subject) -> None:
    """With no tasks (n_tasks=0, everybody at the parent) it learns all the same."""
    found = learn(subject.new(), n_tasks=0)
    RESULTS["meta_learner", "fit"](None, (), found, True)


@check(CONFORMS, "meta_learner")
def learning_goes_on_from_a_start(subject: Subject) -> None:
    """`start=` takes what an earlier fit gave."""
    component = subject.new()
    RESULTS["meta_learner", "fit"](None, (), learn(component, start=learn(component)), True)


@check(CONFORMS, "meta_learner")
def head_arrays_fit_the_head(subject: Subject) -> None:
    """What it learned about the head can be restored into that head."""
    head = trained().head
    head.restore({**head.state(), **learn(subject.new()).head})


@check(CONFORMS, "meta_learner")
def structure_is_told(subject: Subject) -> None:
    """Each row of the structure has task, site, rank and spread; losses are finite numbers."""
    found = learn(subject.new())
    for row in found.structure:
        missing = {"task", "site", "rank", "spread"} - set(row)
        assert not missing, f"a row of the structure lacks {sorted(missing)}"
    assert all(np.isfinite(loss) for loss in found.losses.values()), f"losses are {found.losses}"


@check(CONFORMS, "feedback", "behaviour")
def types_never_seen(subject: Subject) -> None:
    """Event types that the fit didn't see are answered like any other."""
    odd = world().events.with_columns(event_type=pl.lit("never-seen"))
    for method, answer in subject.ask(subject.ready, (odd,)).items():
        RESULTS[subject.kind, method](subject.ready, (odd,), answer, True)


@check(CONFORMS, "feedback", "behaviour")
def values_may_be_missing(subject: Subject) -> None:
    """A log without any value can be learned from and asked about."""
    bare = world().events.with_columns(value=pl.lit(None, pl.Float64))
    _answers_to(subject, bare)


@check(CONFORMS, "behaviour")
def times_may_be_missing(subject: Subject) -> None:
    """A log without the column timestamp can be learned from and asked about."""
    _answers_to(subject, world().events.drop("timestamp"))


@check(CONFORMS, "behaviour")
def ids_may_be_integers(subject: Subject) -> None:
    """Users and items may have integers for ids."""
    number = pl.col("user_id", "item_id").str.slice(1).cast(pl.Int64)
    _answers_to(subject, world().events.with_columns(number))


@check(CONFORMS, "behaviour")
def likelihood_adds_up(subject: Subject) -> None:
    """More events of the same kind are less likely together: the likelihood isn't a mean."""
    events = world().events.filter(pl.col("user_id") == "u1")
    later = events.with_columns(pl.col("timestamp") + 86_400_000_000)
    once = subject.ready.log_likelihood(events)[0]
    twice = subject.ready.log_likelihood(pl.concat([events, later]))[0]
    assert twice < once, f"{once:.3f} nats for the events once, {twice:.3f} for them twice"


@check(CONFORMS, "feedback")
def an_event_counts(subject: Subject) -> None:
    """Not every weight is 0, or nothing could be learned."""
    assert subject.ready.weigh(world().events)[1].max() > 0, "every event has weight 0"


@check(CONFORMS, "feedback")
def an_event_alone(subject: Subject) -> None:
    """Each event can be asked about by itself, as it is when it is observed."""
    for row in range(8):
        events = world().events[row : row + 1]
        RESULTS["feedback", "weigh"](subject.ready, (events,), subject.ready.weigh(events), True)


def _answers_to(subject: Subject, events: pl.DataFrame) -> None:
    component = subject.new()
    component.fit(events, *([np.random.default_rng(1)] if subject.kind == "behaviour" else []))
    for method, answer in subject.ask(component, (events,)).items():
        RESULTS[subject.kind, method](component, (events,), answer, True)


def _refuses(call: Any, message: str) -> None:
    try:
        call()
    except Exception:
        return
    raise AssertionError(message)
