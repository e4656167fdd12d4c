"""Checks of the level *conforms* for components that know items: content, rerankers and rules."""

from __future__ import annotations

import numpy as np
import polars as pl

from metarec_sdk.plugins.boundary import RESULTS
from metarec_sdk.testing.check import Level, check
from metarec_sdk.testing.samples import take_lists, world
from metarec_sdk.testing.subject import Subject
from metarec_sdk.types import Histories, TopK

CONFORMS = Level.CONFORMS


@check(CONFORMS, "content")
def unlisted_is_zero(subject: Subject) -> None:
    """An item of which nothing but the id is known gets a row of zeros."""
    row = subject.ready.encode(world().items)[-1]
    assert not row.any(), "use 0 for what isn't known; the row of an unlisted item is all 0"


@check(CONFORMS, "content")
def same_content_same_vector(subject: Subject) -> None:
    """Two items that differ in nothing but their id get the same vector."""
    items = world().items
    twin = items[1].with_columns(item_id=pl.lit("twin"))
    encoded = subject.ready.encode(pl.concat([items, twin]))
    np.testing.assert_allclose(encoded[-1], encoded[1], rtol=1e-5, atol=1e-6)


@check(CONFORMS, "content")
def ids_alone_are_enough(subject: Subject) -> None:
    """A table without any content gives zeros, not an error."""
    items = world().items.select("item_id")
    encoded = subject.ready.encode(items)
    RESULTS["content", "encode"](None, (items,), encoded, True)
    assert not encoded.any(), "nothing is known of any item, so every row is 0"


@check(CONFORMS, "reranker")
def longer_than_the_catalogue(subject: Subject) -> None:
    """k may be larger than the number of candidates, and than the catalogue."""
    inputs = world().histories, world().candidates
    for k in (1, 13, 1000):
        scores = subject.ready.rescore(*inputs, k)
        RESULTS["reranker", "rescore"](None, inputs, scores, True)


@check(CONFORMS, "reranker")
def a_list_is_left(subject: Subject) -> None:
    """Of several candidates, at least one is kept."""
    given = world()
    scores = subject.ready.rescore(given.histories, given.candidates, 5)
    for row, part in enumerate(np.split(scores, given.candidates.offsets[1:-1])):
        assert len(part) < 2 or (part > -np.inf).any(), f"every candidate of row {row} is left out"


@check(CONFORMS, "reranker")
def equal_scores(subject: Subject) -> None:
    """Candidates with one and the same score are dealt with."""
    given = world()
    flat = TopK(given.candidates.offsets, given.candidates.items, np.ones_like(given.candidates.scores))
    inputs = given.histories, flat
    RESULTS["reranker", "rescore"](None, inputs, subject.ready.rescore(*inputs, 5), True)


@check(CONFORMS, "rule")
def what_is_left_is_allowed(subject: Subject) -> None:
    """When the forbidden candidates are gone, nothing more is forbidden."""
    left = _left(subject, world().candidates)
    assert not subject.ready.forbidden(world().histories, left).any(), "part of an allowed list is forbidden"


@check(CONFORMS, "rule")
def sublists_are_allowed(subject: Subject) -> None:
    """Every sublist of an allowed list is allowed, so that a reranker can't break the rule."""
    left = _left(subject, world().candidates)
    for step in (2, 3):
        chosen = np.zeros(len(left.items), bool)
        chosen[::step] = True
        part = _kept(left, chosen)
        assert not subject.ready.forbidden(world().histories, part).any(), "a sublist is forbidden"


@check(CONFORMS, "rule", "reranker")
def knows_new_items(subject: Subject) -> None:
    """A catalogue that has grown is taken in by another fit."""
    given = world()
    items = pl.concat([given.items, pl.DataFrame({"item_id": ["new"]})], how="diagonal")
    vectors = np.concatenate([given.vectors, given.vectors[:1]])
    component = subject.fitted()
    component.fit(items, vectors)
    new = TopK(np.array([0, 1]), np.array([len(items) - 1]), np.ones(1, np.float32))
    subject.ask(component, (Histories.from_lists([[0]]), new))


def _left(subject: Subject, candidates: TopK) -> TopK:
    return _kept(candidates, ~subject.ready.forbidden(world().histories, candidates))


def _kept(lists: TopK, chosen: np.ndarray) -> TopK:
    before = np.concatenate([[0], np.cumsum(chosen)]).astype(np.int64)
    kept = TopK(before[lists.offsets], lists.items[chosen], lists.scores[chosen])
    return take_lists(kept, slice(None))
