"""The stack: everything fitted that turns a history into one query vector and a few sparse boosts.

``s_u(i) = g0·⟨h_u, e_i⟩ + g1·⟨ŵ_u, ψ_i⟩ + g2·log p_k(i) + g3·(item-item) + g4·Σ_c π_uc log p_c(i)``.
All but the item-item member are one inner product of ``q_u = [g0·h_u, g1·ŵ_u, g4·π_u, g2·one-hot(form)]``
with ``x_i = [e_i, ψ_i, log p_c(i) in each group c, log p(i) in each form]``; that one reaches the ranker as
sparse boosts. There is no second scoring path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.adapters import TaskAdapters
from metarec_sdk.errors import PluginError
from metarec_sdk.heads.mixture import PopularityMixture
from metarec_sdk.plugins.fallback import answered
from metarec_sdk.protocols import Boosts, ItemItemMember
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.recommender.cold_start import START, ColdStart
from metarec_sdk.recommender.episode_scores import MEMBERS
from metarec_sdk.recommender.gates import Gates
from metarec_sdk.recommender.item_item import ItemItem, together
from metarec_sdk.recommender.popularity import PopularityForms, band_of
from metarec_sdk.recommender.task_model import TaskModel
from metarec_sdk.types import Backbone, Float32, Head, Histories, Int32, Memberships, TopK

BATCH = 4096
"""Histories ranked at once: bounds the memory of a batch of any size."""


@dataclass
class Stack:
    """Fitted members, gates and the one item matrix."""

    backbone: Backbone
    head: Head
    item_item: ItemItem
    adapters: TaskAdapters | None
    tasks: TaskModel
    gates: Gates
    mixture: PopularityMixture
    popularity: PopularityForms
    form: Int32
    """i32[bands], the popularity form that serves each band of history lengths."""
    cold: ColdStart
    history_limit: int
    """Events of a history that the members see, counted from its end."""
    new_items: Float32
    """f32[j, d + m], vectors of the items that joined after the members were trained."""
    index: ItemIndex = field(init=False, repr=False)

    def __post_init__(self) -> None:
        vectors = self.vectors()  # [n, d + m]
        groups = self.mixture.extended(len(vectors)).lift + self.popularity.table[:, :1]
        matrix = np.concatenate([vectors, groups, self.popularity.table], axis=1)  # [n, d + m + C + forms]
        self.width = self.backbone.item_matrix().shape[1]
        self.head_width = vectors.shape[1] - self.width
        self.n_trained = len(vectors) - len(self.new_items)
        self.index = ItemIndex(np.ascontiguousarray(matrix, np.float32), task_bias=self.cold.task_bias)

    def trained_vectors(self) -> Float32:
        """f32[n_trained, d + m], what the members were trained to rank."""
        return np.concatenate([self.backbone.item_matrix(), self.head.item_matrix()], axis=1)

    def vectors(self) -> Float32:
        """f32[n, d + m], the trained items and those that joined since."""
        return np.concatenate([self.trained_vectors(), self.new_items])

    def replaced(self, **changes: Any) -> Stack:
        """The same stack with some parts exchanged; the original goes on serving."""
        return replace(self, **changes)

    @property
    def n_items(self) -> int:
        """n, the catalogue including items that joined since training."""
        return len(self.popularity.table)

    def usable(self, histories: Histories) -> Histories:
        """What the members see: the last events, of items that they were trained on."""
        known = histories.items < self.n_trained
        return (histories if known.all() else histories.keep(known)).last(self.history_limit)

    def encode(self, histories: Histories, memberships: Memberships) -> Float32:
        """f32[b, d], the backbone's vector with the task adapters applied."""
        adapters = self.adapters
        if adapters is None:
            return self.backbone.encode(histories)
        return adapters.apply(self.backbone, histories, memberships)

    def memberships(
        self, histories: Histories, features: Float32 | None = None, codes: Int32 | None = None
    ) -> Memberships:
        """See `TaskModel.memberships`; where a plugin's clusterer fails, everybody is at the parent."""
        return answered(
            self.tasks.clusterer,
            lambda: self.tasks.memberships(histories, features, codes),
            lambda: Memberships.parent(len(histories), codes),
        )

    def queries(
        self, histories: Histories, memberships: Memberships, gates: Float32 | None = None
    ) -> Float32:
        """f32[b, d + m + C + forms] of usable histories; ``gates`` f32[b, members] instead of the fitted.

        A plugin's backbone or head that fails says nothing about the batch, and the others answer.
        """
        lengths = histories.lengths
        gates = self.gates.at(lengths) if gates is None else gates
        b = len(histories)
        h = answered(
            self.backbone,
            lambda: wide(self.encode(histories, memberships), self.width, "encode"),
            lambda: np.zeros((b, self.width), np.float32),
        )  # [b, d]
        w = answered(
            self.head,
            lambda: wide(self.head.query(histories, memberships), self.head_width, "query"),
            lambda: np.zeros((b, self.head_width), np.float32),
        )  # [b, m]
        forms = np.zeros((len(histories), len(self.popularity.names)), np.float32)
        rows = np.arange(len(histories))
        forms[rows, self.form[np.maximum(band_of(lengths), 0)]] = gates[:, 2]
        groups = self.mixture.memberships(histories, memberships.segments)  # [b, C]
        queries = np.concatenate([gates[:, :1] * h, gates[:, 1:2] * w, gates[:, 4:5] * groups, forms], axis=1)
        empty = lengths == 0
        if empty.any():
            cold = self.cold
            if cold.choice == START and not h.any():  # the backbone failed; popularity takes its place
                most_popular = self.popularity.names[0]
                cold = replace(
                    cold, choice=most_popular, column=self.popularity.column_from_end(most_popular)
                )
            start = np.concatenate([h, np.zeros_like(w)], axis=1)[empty]
            queries[empty] = cold.query(start, groups[empty], forms.shape[1])
        return np.ascontiguousarray(queries, np.float32)

    def boosts(self, histories: Histories, gates: Float32) -> Boosts:
        """The item-item member as added scores, scaled by its gate f32[b, members]."""
        parts = []
        for member, rows, heard in self.item_item.parts(histories):
            said = answered(
                member,
                partial(_boosts_within, member, heard, self.n_trained),
                partial(_no_boosts, len(heard)),
            )
            parts.append((rows, said))
        offsets, items, values = together(len(histories), parts)
        return offsets, items, values * np.repeat(gates[:, 3], np.diff(offsets))

    def rank(
        self,
        histories: Histories,
        k: int,
        memberships: Memberships | None = None,
        *,
        seen: Histories | None = None,
        allow: NDArray[np.bool_] | None = None,
        deny: NDArray[np.bool_] | None = None,
        extra: Boosts | None = None,
        gates: Float32 | None = None,
        without: int | None = None,
    ) -> TopK:
        """The k best items of each history, batch by batch in bounded memory.

        ``seen`` are the items to leave out (default: the histories' own); ``extra`` business boosts, one row
        that counts for everybody; ``gates`` f32[members] overrides the fitted ones, to look at members alone;
        ``without`` is the place of a member whose gate is closed, and popularity answers for it where it was
        served alone.
        """
        seen = histories if seen is None else seen
        parts = []
        for start in range(0, len(histories), BATCH):
            rows = slice(start, start + BATCH)
            usable = self.usable(histories.take(rows))
            members = self.memberships(usable) if memberships is None else memberships.take(rows)
            if gates is None:
                chosen = self.gates.at(usable.lengths)
                if without is not None:
                    chosen[:, without] = 0.0
                    chosen[~chosen.any(1), MEMBERS.index("popularity")] = 1.0
            else:
                chosen = np.repeat(gates[None], len(usable), axis=0)
            boosts = self.boosts(usable, chosen) if chosen[:, 3].any() else None
            if extra is not None:
                boosts = merged(boosts, extra, len(usable))
            parts.append(
                self.index.topk(
                    self.queries(usable, members, chosen),
                    k,
                    exclude=seen.take(rows),
                    allow=allow,
                    deny=deny,
                    boosts=boosts,
                    **self.cold.bias(usable.lengths, members),
                )
            )
        return joined(parts)


def wide(vectors: Float32, width: int, call: str) -> Float32:
    """The vectors, if they are as wide as the item matrix; `PluginError` otherwise."""
    if vectors.shape[1] != width:
        raise PluginError(f"{call}(histories) is {vectors.shape[1]} wide, the item matrix {width}")
    return vectors


def _no_boosts(b: int) -> Boosts:
    return np.zeros(b + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)


def _boosts_within(member: ItemItemMember, histories: Histories, n: int) -> Boosts:
    """The boosts, if all of them are of the n items; `PluginError` otherwise."""
    boosts = member.boosts(histories)
    if boosts[1].max(initial=-1) >= n:
        raise PluginError(f"boosts(histories) holds item {boosts[1].max()}; items are 0 … {n - 1}")
    return boosts


def merged(boosts: Boosts | None, extra: Boosts, b: int) -> Boosts:
    """Per-user boosts followed in every row by the one extra row; the ranker adds up repeats."""
    _, extra_items, extra_values = extra
    if boosts is None:
        offsets = np.arange(b + 1, dtype=np.int64) * len(extra_items)
        return offsets, np.tile(extra_items, b), np.tile(extra_values, b)
    places = np.repeat(boosts[0][1:], len(extra_items))
    offsets = boosts[0] + np.arange(b + 1) * len(extra_items)
    items = np.insert(boosts[1], places, np.tile(extra_items, b))
    return offsets, items, np.insert(boosts[2], places, np.tile(extra_values, b))


def joined(parts: list[TopK]) -> TopK:
    """The lists of all batches, one after the other."""
    if len(parts) == 1:
        return parts[0]
    lengths = [np.diff(part.offsets) for part in parts]
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([*lengths, np.zeros(0, np.int64)]))])
    return TopK(
        offsets.astype(np.int64),
        np.concatenate([np.zeros(0, np.int64), *(part.items for part in parts)]),
        np.concatenate([np.zeros(0, np.float32), *(part.scores for part in parts)]),
    )


@dataclass(frozen=True)
class Member:
    """One member of a stack as a ranker of its own, for comparison."""

    stack: Stack
    gates: Float32
    """f32[members], one-hot."""

    def rank(self, histories: Histories, k: int, memberships: Memberships | None = None) -> TopK:
        """The k best items by this member alone; at length 0 the cold-start choice answers for all."""
        return self.stack.rank(histories, k, memberships, gates=self.gates)


@dataclass(frozen=True)
class Remaining:
    """A stack with one member silent and the gates of the others as they were."""

    stack: Stack
    without: int
    """Place of the silent member."""

    def rank(self, histories: Histories, k: int, memberships: Memberships | None = None) -> TopK:
        """The k best items by the other members."""
        return self.stack.rank(histories, k, memberships, without=self.without)


def members(stack: Stack, names: tuple[str, ...]) -> Mapping[str, Member]:
    """Every member by name."""
    return {name: Member(stack, row) for name, row in zip(names, np.eye(len(names), dtype=np.float32))}
