"""How a component of each kind is fitted and asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from metarec_sdk.testing.samples import World, take_lists, trained
from metarec_sdk.types import MetaFit

Inputs = tuple[Any, ...]
Answers = dict[str, Any]
"""Method -> what it returned."""


@dataclass(frozen=True)
class Case:
    """One kind of component."""

    inputs: Callable[[World, Any], Inputs]
    """What the component is asked about."""
    ask: Callable[[Any, Inputs], Answers]
    fit: Callable[[Any, World, np.random.Generator], None] | None = None
    take: Callable[[Inputs, Any], Inputs] | None = None
    """The given rows of the inputs; None where there are no rows."""
    rows: Callable[[Inputs, Answers], list[Any]] | None = None
    """The answer to each row by itself; None where rows may depend on each other."""
    stored: bool = True
    """Whether it has `state` and `restore`."""


def _fit_log(component: Any, given: World, rng: np.random.Generator) -> None:
    component.fit(given.log, rng)


def _fit_catalogue(component: Any, given: World, rng: np.random.Generator) -> None:
    component.fit(given.items, given.vectors)


def _histories(given: World, component: Any) -> Inputs:
    return (given.histories,)


def _events(given: World, component: Any) -> Inputs:
    return (given.events,)


def _user_rows(given: World, component: Any) -> Inputs:
    """What a clusterer is shown of the users, by its ``column`` and ``with_features``."""
    if component.column is None:
        return (given.features,)
    if not getattr(component, "with_features", False):
        return (given.codes,)
    return (np.concatenate([given.codes, given.features], axis=1),)


def _rows_of(inputs: Inputs, rows: Any) -> Inputs:
    return tuple(part.take(rows) for part in inputs)


def _lists(given: World, component: Any) -> Inputs:
    return given.histories, given.candidates


def _list_rows(inputs: Inputs, rows: Any) -> Inputs:
    return inputs[0].take(rows), take_lists(inputs[1], rows)


def _frame_rows(inputs: Inputs, rows: Any) -> Inputs:
    chosen = np.arange(inputs[0].height)[rows]
    return (inputs[0][chosen],)


def _people(inputs: Inputs, rows: Any) -> Inputs:
    users = inputs[0]["user_id"].unique().sort()
    return (inputs[0].filter(pl.col("user_id").is_in(users.gather(np.arange(len(users))[rows]).to_list())),)


def _weights_by_user(inputs: Inputs, answers: Answers) -> list[Any]:
    users = inputs[0]["user_id"]
    both = np.stack(answers["weigh"], axis=1)
    return [both[(users == user).to_numpy()] for user in users.unique().sort()]


def _ask_clusterer(component: Any, inputs: Inputs) -> Answers:
    answers = {"assign": component.assign(*inputs)}
    if hasattr(component, "memberships"):
        answers["memberships"] = component.memberships(*inputs)
    return answers


def _by_list(name: str) -> Callable[[Inputs, Answers], list[Any]]:
    return lambda inputs, answers: np.split(answers[name], inputs[1].offsets[1:-1])


def _boost_rows(inputs: Inputs, answers: Answers) -> list[Any]:
    offsets, items, scores = answers["boosts"]
    pairs = np.stack([items.astype(np.float64), scores.astype(np.float64)], axis=1)
    return [part[np.argsort(part[:, 0])] for part in np.split(pairs, offsets[1:-1])]


def _ask_meta_learner(component: Any, inputs: Inputs) -> Answers:
    return {"fit": learn(component)}


def learn(component: Any, *, seed: int = 3, n_tasks: int = 3, start: MetaFit | None = None) -> MetaFit:
    """One fit of a meta-learner on the episodes of the world."""
    given = trained()
    held = np.arange(len(given.episodes)) % 5 == 0
    memberships = given.memberships
    if n_tasks == 0:
        memberships = type(memberships).parent(len(given.episodes))
    found: MetaFit = component.fit(
        given.episodes.take(~held),
        memberships.take(~held),
        n_tasks=n_tasks,
        backbone=given.backbone,
        head=given.head,
        validation=(given.episodes.take(held), memberships.take(held)),
        rng=np.random.default_rng(seed),
        start=start,
    )
    return found


CASES: dict[str, Case] = {
    "backbone": Case(
        _histories,
        lambda component, inputs: {
            "encode": component.encode(*inputs),
            "item_matrix": component.item_matrix(),
        },
        _fit_log,
        _rows_of,
        lambda inputs, answers: list(answers["encode"]),
    ),
    "clusterer": Case(
        _user_rows,
        _ask_clusterer,
        lambda component, given, rng: component.fit(*_user_rows(given, component), rng),
        lambda inputs, rows: (inputs[0][rows],),
        lambda inputs, answers: list(answers["assign"]),
    ),
    "meta_learner": Case(lambda given, component: (), _ask_meta_learner),
    "head": Case(
        _histories,
        lambda component, inputs: {"query": component.query(*inputs), "item_matrix": component.item_matrix()},
        _fit_log,
        _rows_of,
        lambda inputs, answers: list(answers["query"]),
    ),
    "item_item": Case(
        _histories,
        lambda component, inputs: {"boosts": component.boosts(*inputs)},
        _fit_log,
        _rows_of,
        _boost_rows,
    ),
    "feedback": Case(
        _events,
        lambda component, inputs: {"weigh": component.weigh(*inputs)},
        lambda component, given, rng: component.fit(given.events),
        _people,
        _weights_by_user,
    ),
    "behaviour": Case(
        _events,
        lambda component, inputs: {
            "features": component.features(*inputs),
            "log_likelihood": component.log_likelihood(*inputs),
        },
        lambda component, given, rng: component.fit(given.events, rng),
        _people,
        lambda inputs, answers: list(answers["log_likelihood"]),
    ),
    "content": Case(
        lambda given, component: (given.items,),
        lambda component, inputs: {"encode": component.encode(*inputs)},
        take=_frame_rows,
        stored=False,
    ),
    "reranker": Case(
        _lists,
        lambda component, inputs: {"rescore": component.rescore(*inputs, 5)},
        _fit_catalogue,
        _list_rows,
        _by_list("rescore"),
        stored=False,
    ),
    "rule": Case(
        _lists,
        lambda component, inputs: {"forbidden": component.forbidden(*inputs)},
        _fit_catalogue,
        _list_rows,
        _by_list("forbidden"),
        stored=False,
    ),
}
"""By kind."""


def n_rows(inputs: Inputs, kind: str) -> int:
    """Rows of the inputs of a kind; people where it is asked about events."""
    return inputs[0]["user_id"].n_unique() if kind in ("feedback", "behaviour") else len(inputs[0])
