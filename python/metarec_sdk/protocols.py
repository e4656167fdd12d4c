"""What a component of each kind has to offer: one protocol a kind.

Array arguments are read-only: copy what has to be changed. Shapes are those of the glossary in
`metarec_sdk.types`; a frame of events has the canonical columns of `metarec_sdk.data.Interactions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np

from metarec_sdk.types import (
    AdaptableBackbone,
    Backbone,
    Bool,
    Clusterer,
    Component,
    FeedbackModel,
    Float32,
    Float64,
    Head,
    Histories,
    Int32,
    Int64,
    MetaLearner,
    Progress,
    TopK,
    TrainingLog,
    no_progress,
)

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "AdaptableBackbone",
    "Backbone",
    "BehaviourModel",
    "Boosts",
    "Clusterer",
    "Component",
    "ContentEncoder",
    "FeedbackModel",
    "Head",
    "ItemItemMember",
    "MetaLearner",
    "Reranker",
    "Rule",
]

Boosts: TypeAlias = tuple[Int64, Int32, Float32]
"""CSR: (offsets i64[b + 1], items i32[o], added scores f32[o])."""


@runtime_checkable
class ItemItemMember(Component, Protocol):
    """Adds sparse scores to items that are neighbours of those in a history.

    With an argument ``directed`` in its constructor, both values are tried and validation chooses for each
    band of history lengths; with ``regression`` besides, True is tried too, for at most 6,000 items; and
    with ``content`` besides that, True, where ``log.item_features`` are there.
    """

    def fit(self, log: TrainingLog, rng: np.random.Generator, progress: Progress = no_progress) -> None:
        """Learn neighbours from the log."""

    def boosts(self, histories: Histories) -> Boosts:
        """(offsets i64[b + 1], items i32[o] in 0 … n-1 and each once in a row, scores f32[o], finite).

        A fitted gate scales the scores, so short and long histories should have scores of one size.
        """


@runtime_checkable
class BehaviourModel(Component, Protocol):
    """Describes people by what they do: features for task clusterers, and how likely their events are.

    Events come as a frame in the canonical columns, in the order of the log; ``timestamp`` is there only
    where the log has times. Row i of a result belongs to the i-th of ``events["user_id"].unique().sort()``.
    """

    def fit(self, events: pl.DataFrame, rng: np.random.Generator) -> None:
        """Learn from the events of everybody."""

    def features(self, events: pl.DataFrame) -> Float32:
        """f32[u, p], finite and of one scale (mean 0, standard deviation about 1); 0 where unknown."""

    def log_likelihood(self, events: pl.DataFrame) -> Float64:
        """f64[u], nats: log-likelihood of all events of each user, finite, also for types never seen."""


@runtime_checkable
class ContentEncoder(Protocol):
    """Turns the items' table into vectors, from which an item without events gets its place."""

    def encode(self, items: pl.DataFrame) -> Float32:
        """f32[n, c], finite; row i describes row i of the table, 0 where nothing is known.

        The table has ``item_id`` and the columns that the user gave, null for items that aren't listed.
        """


@runtime_checkable
class Reranker(Protocol):
    """Puts candidates into another order, by giving each a new score."""

    def fit(self, items: pl.DataFrame, vectors: Float32) -> None:
        """Get to know the catalogue, each time that a generation starts to serve.

        ``items``: n rows, ``item_id`` and the columns of the items' table (null where unlisted).
        ``vectors``: f32[n, d], what the members of the stack know of each item.
        """

    def rescore(self, histories: Histories, candidates: TopK, k: int) -> Float32:
        """f32[o], the new score of each of the o candidates of b histories; -inf leaves one out.

        The k best of each row are shown, ties in the order of the candidates.
        """


@runtime_checkable
class Rule(Protocol):
    """A hard rule: what it forbids is never shown. It is applied to candidates and checked on final lists.

    A rule has to allow every sublist of a list that it allows, so that a reranker can't break it.
    """

    def fit(self, items: pl.DataFrame, vectors: Float32) -> None:
        """Get to know the catalogue, as `Reranker.fit` does."""

    def forbidden(self, histories: Histories, candidates: TopK) -> Bool:
        """bool[o], true for each of the o candidates of b histories that mustn't be shown.

        Candidates come best first; those that are left after the forbidden ones go are an allowed list.
        """
