"""Answering requests from one published generation: external ids in, ranked frames out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_sdk.data import Vocabulary
from metarec_sdk.errors import ArgumentError, UnknownIdError
from metarec_sdk.protocols import Boosts
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.recommender.shaping import Shaping
from metarec_sdk.recommender.stack import BATCH, Stack
from metarec_sdk.recommender.users import Users
from metarec_sdk.types import Float32, Histories, Int32, TopK

MAX_HISTORY = 10_000
"""Events in one history that is given with a request."""

Unknown = Literal["raise", "ignore"]
"""What to do with item ids that aren't in the catalogue."""


@dataclass
class Served:
    """One whole generation in memory. A request reads it once and keeps it to the end."""

    stack: Stack
    shaping: Shaping
    items: Vocabulary
    users: Users
    categories: list[str]
    """Values of the known tasks' column, by code."""
    event_types: list[str]
    """Types of event in the log that was trained on."""
    generation: str
    trained_through: int
    """Sequence number of the last logged event that this generation was trained on."""
    _similar: ItemIndex | None = None

    def known_users(self, users: Sequence[int | str]) -> Iterator[tuple[Histories, Histories, Any]]:
        """Batches of (history, seen, memberships) for known users."""
        for start in range(0, len(users), BATCH):
            batch = users[start : start + BATCH]
            rows = self.users.rows(batch)
            histories = self.users.histories(batch, rows)
            features, codes = self.users.task_inputs(rows)
            memberships = self.stack.memberships(self.stack.usable(histories), features, codes)
            yield histories, histories, memberships

    def given_histories(
        self, histories: Sequence[Sequence[Any]], task: str | Sequence[str] | None, unknown: Unknown
    ) -> Iterator[tuple[Histories, Histories, Any]]:
        """Batches of (history, seen, memberships) for histories of people who aren't known."""
        codes = self.codes(task, len(histories))
        for start in range(0, len(histories), BATCH):
            batch = histories[start : start + BATCH]
            encoded = self._encode(batch, start, unknown)
            of_batch = None if codes is None else codes[start : start + BATCH]
            yield (
                encoded,
                encoded,
                self.stack.memberships(self.stack.usable(encoded), None, of_batch),
            )

    def item_mask(self, items: Iterable[Any] | None, name: str, unknown: Unknown) -> NDArray[np.bool_] | None:
        """bool[n], true at the given item ids; None for None."""
        if items is None:
            return None
        mask = np.zeros(len(self.items), bool)
        mask[self.item_indices(list(items), name, unknown)] = True
        return mask

    def item_indices(self, items: Sequence[Any], name: str, unknown: Unknown) -> Int32:
        """i32, indices of item ids; unknown ones are refused or left out.

        Raises `UnknownIdError` that names the argument and the first unknown id.
        """
        indices = self.items.encode(items)
        missing = indices < 0
        if missing.any() and unknown == "raise":
            first = items[int(np.flatnonzero(missing)[0])]
            raise UnknownIdError(
                f"{name}: item {first!r} is not in the catalogue of {len(self.items):,} items"
                f"{_more(int(missing.sum()))}; pass unknown='ignore' to leave unknown items out"
            )
        return indices[~missing]

    def extra_boosts(self, boosts: Mapping[Any, float] | None, unknown: Unknown) -> Boosts | None:
        """Business boosts as one CSR row that counts for everybody.

        Raises `ArgumentError` for a boost that isn't finite.
        """
        if not boosts:
            return None
        values = np.fromiter(boosts.values(), np.float32, len(boosts))
        if not np.isfinite(values).all():
            bad = list(boosts)[int(np.flatnonzero(~np.isfinite(values))[0])]
            raise ArgumentError(f"boosts: the boost of item {bad!r} is {boosts[bad]}; it must be finite")
        known = self.items.encode(list(boosts)) >= 0
        items = self.item_indices(list(boosts), "boosts", unknown)
        order = np.argsort(items)
        return np.array([0, len(items)]), items[order], values[known][order]

    def frame(self, ids: pl.Series, ranked: TopK) -> pl.DataFrame:
        """The lists as rows user_id, rank (from 1), item_id, score."""
        lengths = np.diff(ranked.offsets)
        rank = np.arange(len(ranked.items)) - np.repeat(ranked.offsets[:-1], lengths) + 1
        return pl.DataFrame(
            {
                "user_id": ids[np.repeat(np.arange(len(ids)), lengths)],
                "rank": pl.Series(rank, dtype=pl.Int32),
                "item_id": self.items.decode(ranked.items.astype(np.int32)),
                "score": ranked.scores,
            }
        )

    def similar(self, items: Int32, k: int) -> TopK:
        """The k items closest to each by the cosine of backbone and head vectors, itself left out."""
        if self._similar is None:
            self._similar = ItemIndex(self._similarity_matrix())
        alone = Histories.from_lists([[int(item)] for item in items])
        vectors = np.ascontiguousarray(self._similarity_matrix()[items])
        return self._similar.topk(vectors, k, exclude=alone)

    def _similarity_matrix(self) -> Float32:
        parts = [self.stack.backbone.item_matrix(), self.stack.head.item_matrix()]
        width = parts[0].shape[1]
        new = self.stack.new_items
        both = [np.concatenate([parts[0], new[:, :width]]), np.concatenate([parts[1], new[:, width:]])]
        return np.ascontiguousarray(np.concatenate([_unit(part) for part in both], axis=1) * np.sqrt(0.5))

    def _encode(self, batch: Sequence[Sequence[Any]], start: int, unknown: Unknown) -> Histories:
        rows = []
        for place, history in enumerate(batch, start):
            if isinstance(history, str | bytes) or not hasattr(history, "__len__"):
                raise ArgumentError(
                    f"history[{place}] is {history!r}; history is a list of lists of item ids, one a person"
                )
            if len(history) > MAX_HISTORY:
                raise ArgumentError(
                    f"history[{place}] has {len(history):,} events, the limit is {MAX_HISTORY:,}; "
                    f"pass the latest ones"
                )
            rows.append(self.item_indices(list(history), f"history[{place}]", unknown).tolist())
        return Histories.from_lists(rows)

    def codes(
        self, task: str | Sequence[str | None] | None, b: int, unknown: Unknown = "raise"
    ) -> Int32 | None:
        """i32[b], the category of each known task, -1 for None; None for no tasks at all.

        Raises `ArgumentError` where tasks aren't known or b differs, `UnknownIdError` for an unknown one.
        """
        if task is None:
            return None
        names = [task] * b if isinstance(task, str) else list(task)
        if not self.categories:
            raise ArgumentError(
                "task= needs a recommender whose tasks come from a column (clusterer='column')"
            )
        if len(names) != b:
            raise ArgumentError(f"task has {len(names)} values for {b} histories")
        place = {name: code for code, name in enumerate(self.categories)}
        for name in names:
            if name is not None and name not in place and unknown == "raise":
                raise UnknownIdError(f"task {name!r} is not known; there are {self.categories}")
        return np.array([-1 if name is None else place.get(name, -1) for name in names], np.int32)


def _unit(vectors: Float32) -> Float32:
    unit: Float32 = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _more(missing: int) -> str:
    return f" (nor are {missing - 1} others)" if missing > 1 else ""
