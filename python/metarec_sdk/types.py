"""Shapes glossary, the arrays that stages hand to each other, and the protocols of the components.

Shapes, everywhere in the package:

====  =====================================================
``b``  users (or histories) in a batch
``u``  users in a log
``n``  items in the catalogue
``e``  events, summed over a ragged batch
``d``  width of the backbone
``m``  width of the head
``C``  tasks; task ids are ``0 … C-1``, ``-1`` means "no task", which is served by the parent
``r``  rank of an adapter
``k``  length of a support set, or of a list of recommendations
====  =====================================================

Items are dense indices ``0 … n-1`` (int32) between the stages; external ids exist only at the facade.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError

if TYPE_CHECKING:
    import polars as pl

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Int32: TypeAlias = NDArray[np.int32]
Int64: TypeAlias = NDArray[np.int64]
Bool: TypeAlias = NDArray[np.bool_]
State: TypeAlias = dict[str, NDArray[Any]]
"""What a component needs to be restored: named arrays, stored as safetensors."""

Progress: TypeAlias = Callable[[int, int, str], None]
"""``progress(done, total, message)``; called at most a few times a second by long work."""


def no_progress(done: int, total: int, message: str) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True, slots=True)
class Histories:
    """A ragged batch of item sequences, oldest event first: row i is ``items[offsets[i]:offsets[i + 1]]``."""

    items: Int32
    """i32[e], item indices."""
    offsets: Int64
    """i64[b + 1], starting at 0, non-decreasing, ending at e."""
    weights: Float32
    """f32[e], ≥ 0, the weight ω of each event as given by the feedback model."""
    timestamps: Int64
    """i64[e], microseconds since 1970 UTC, non-decreasing in a row."""

    def __post_init__(self) -> None:
        if self.offsets.ndim != 1 or len(self.offsets) == 0 or self.offsets[-1] != len(self.items):
            raise ArgumentError(
                f"offsets must be i64[b + 1] ending at {len(self.items)} (the number of events), "
                f"got shape {self.offsets.shape}"
            )
        if not len(self.items) == len(self.weights) == len(self.timestamps):
            raise ArgumentError(
                f"items, weights and timestamps must be equally long, got "
                f"{len(self.items)}, {len(self.weights)}, {len(self.timestamps)}"
            )

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[int]]) -> Histories:
        """Histories of unit weight whose timestamps are their positions."""
        lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        items = np.fromiter((item for row in rows for item in row), np.int32, int(offsets[-1]))
        positions = np.arange(len(items), dtype=np.int64) - np.repeat(offsets[:-1], lengths)
        return cls(items, offsets, np.ones(len(items), np.float32), positions)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[Int32]:
        for start, stop in zip(self.offsets[:-1], self.offsets[1:]):
            yield self.items[start:stop]

    @property
    def lengths(self) -> Int64:
        """i64[b], events in each row."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[Any] | slice) -> Histories:
        """The given rows (indices, a boolean mask or a slice), in that order."""
        chosen = np.arange(len(self))[rows]
        return self._gather(self.offsets[:-1][chosen], self.lengths[chosen])

    def first(self, k: int | Int64) -> Histories:
        """The first k events of each row (k may differ by row)."""
        return self._gather(self.offsets[:-1], np.minimum(self.lengths, k))

    def last(self, k: int | Int64) -> Histories:
        """The last k events of each row (k may differ by row)."""
        lengths = np.minimum(self.lengths, k)
        return self._gather(self.offsets[1:] - lengths, lengths)

    def between(self, start: int | Int64, stop: int | Int64) -> Histories:
        """Events ``start … stop - 1`` of each row, fewer where the row ends earlier."""
        lengths = self.lengths
        first = np.minimum(lengths, start)
        return self._gather(self.offsets[:-1] + first, np.maximum(np.minimum(lengths, stop) - first, 0))

    def keep(self, events: Bool) -> Histories:
        """Only the events where the mask bool[e] is true; rows stay, possibly empty."""
        kept = np.concatenate([[0], np.cumsum(events)]).astype(np.int64)
        return Histories(
            self.items[events], kept[self.offsets], self.weights[events], self.timestamps[events]
        )

    def join(self, later: Histories) -> Histories:
        """Row by row, this history followed by the later one."""
        if len(later) != len(self):
            raise ArgumentError(f"later has {len(later)} rows, expected {len(self)}")
        offsets = self.offsets + later.offsets
        items = np.empty(offsets[-1], np.int32)
        weights = np.empty(offsets[-1], np.float32)
        timestamps = np.empty(offsets[-1], np.int64)
        for source, starts in ((self, offsets[:-1]), (later, offsets[:-1] + self.lengths)):
            place = np.arange(len(source.items)) + np.repeat(starts - source.offsets[:-1], source.lengths)
            items[place] = source.items
            weights[place] = source.weights
            timestamps[place] = source.timestamps
        return Histories(items, offsets, weights, timestamps)

    @classmethod
    def concatenate(cls, parts: Sequence[Histories]) -> Histories:
        """The rows of all parts, one after the other."""
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(
            np.concatenate([part.items for part in parts]),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.concatenate([part.weights for part in parts]),
            np.concatenate([part.timestamps for part in parts]),
        )

    def _gather(self, starts: Int64, lengths: Int64) -> Histories:
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        index = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, lengths)
        return Histories(self.items[index], offsets, self.weights[index], self.timestamps[index])


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """What a stage trains on: every user's history over a fixed catalogue."""

    histories: Histories
    """u rows, one a user."""
    n_items: int
    """n; every item index is below it. Items without an event are allowed."""
    user_features: Float32 | None = None
    """f32[u, p], standardised behaviour features, or None."""
    item_features: Float32 | None = None
    """f32[n, c], content features, or None."""
    ordered: bool = True
    """False where the order of a user's events says nothing: rows are then in random order (timestamps stay
    in place, so that they go on rising), and may be shuffled again."""

    def __len__(self) -> int:
        return len(self.histories)

    def take(self, rows: NDArray[Any] | slice) -> TrainingLog:
        """The same catalogue with the given users only."""
        features = None if self.user_features is None else self.user_features[rows]
        return replace(self, histories=self.histories.take(rows), user_features=features)


@dataclass(frozen=True, slots=True)
class Memberships:
    """Soft membership of each user in at most two tasks."""

    tasks: Int32
    """i32[b, 2], task ids; -1 is the parent."""
    weights: Float32
    """f32[b, 2], ≥ 0, each row sums to 1."""
    segments: Int32 | None = None
    """i32[b], each user's value of a known column, -1 for unknown, tasks or not; None without a column."""

    @classmethod
    def parent(cls, b: int, segments: Int32 | None = None) -> Memberships:
        """Everybody at the parent: the C = 1 case."""
        weights = np.tile(np.array([1.0, 0.0], np.float32), (b, 1))
        return cls(np.full((b, 2), -1, np.int32), weights, segments)

    def __len__(self) -> int:
        return len(self.tasks)

    def take(self, rows: NDArray[Any] | slice) -> Memberships:
        """The given rows, in that order."""
        segments = None if self.segments is None else self.segments[rows]
        return Memberships(self.tasks[rows], self.weights[rows], segments)


@dataclass(frozen=True, slots=True)
class Episodes:
    """Few-shot episodes: a support set to adapt on and a query set to be judged by."""

    support: Histories
    """b rows of k ≥ 0 events."""
    query: Histories
    """b rows of ≥ 1 events that follow the support."""
    users: Int32
    """i32[b], the row of the source log that each episode comes from."""

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray[Any] | slice) -> Episodes:
        """The given episodes, in that order."""
        return Episodes(self.support.take(rows), self.query.take(rows), self.users[rows])


@dataclass(frozen=True, slots=True)
class TopK:
    """Ranked lists, best first; a list that couldn't be filled is short, never padded.

    Row ``i`` is ``items[offsets[i]:offsets[i + 1]]``; ties are ordered by item index.
    """

    offsets: Int64
    """i64[b + 1]."""
    items: Int64
    """i64[o], item indices."""
    scores: Float32
    """f32[o], descending in a row."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def padded(self, k: int) -> tuple[Int64, Float32]:
        """i64[b, k] filled up with -1 and f32[b, k] filled up with -inf, for array work."""
        lengths = np.minimum(np.diff(self.offsets), k)
        inside = np.arange(k) < lengths[:, None]  # [b, k]
        source = (self.offsets[:-1, None] + np.arange(k))[inside]
        items = np.full(inside.shape, -1, np.int64)
        scores = np.full(inside.shape, -np.inf, np.float32)
        items[inside] = self.items[source]
        scores[inside] = self.scores[source]
        return items, scores


class Ranker(Protocol):
    """Whatever turns histories into ranked lists: the recommender, one of its members, a baseline."""

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k best items for each history, items of the history left out."""


class TaskRanker(Ranker, Protocol):
    """A ranker that can be told the task of each person."""

    def rank(self, histories: Histories, k: int, memberships: Memberships | None = None) -> TopK:
        """The k best items for each history; memberships None leaves the tasks to the histories."""


@runtime_checkable
class Component(Protocol):
    """What every component kind has in common.

    A component is built from JSON-able keyword arguments; ``state`` gives the fitted arrays and ``restore``
    takes them back, so that no component needs pickle.
    """

    def state(self) -> State:
        """The fitted arrays by name."""

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave."""


@runtime_checkable
class Backbone(Component, Protocol):
    """Turns a history into a vector that ranks items by inner product."""

    def fit(self, log: TrainingLog, rng: np.random.Generator, progress: Progress = no_progress) -> None:
        """Train on the log."""

    def item_matrix(self) -> Float32:
        """f32[n, d], C-contiguous, finite."""

    def encode(self, histories: Histories) -> Float32:
        """f32[b, d]; an empty history is allowed and gives the start vector."""


@runtime_checkable
class AdaptableBackbone(Backbone, Protocol):
    """A backbone that lets adapters into more places than its output.

    Where a backbone is not adaptable, the only site is ``"final"``: ``h + B_c A h``.
    """

    def adapter_sites(self) -> dict[str, tuple[int, int]]:
        """(d_in, d_out) of each adapted projection by name."""

    def adapter_inputs(self, histories: Histories) -> dict[str, Float32]:
        """Everything that `adapted` needs, computed once with the frozen weights: name -> f32[b, …]."""

    def adapted(self, inputs: Mapping[str, Any], delta: Callable[[str, Any], Any]) -> Any:
        """torch f32[b, d] from torch inputs; ``delta(site, x [b, d_in]) -> [b, d_out]`` is added to that
        site's projection. Differentiable; with ``delta = 0`` it equals `encode`."""


@runtime_checkable
class Clusterer(Component, Protocol):
    """Groups users into tasks."""

    column: str | None
    """Name of a column of the log or of the users' table whose values are the tasks; None to cluster
    features. With a column, x is f32[u, 1] of category codes, -1 for unknown; where the clusterer has an
    attribute ``with_features`` that is true, the features follow: f32[u, 1 + p].

    A code is the place of the user's value among all values in the order of their text. The value is that of
    the users' table, else the most frequent one of the user's events."""

    def fit(self, x: Float32, rng: np.random.Generator) -> None:
        """Learn the groups of x f32[u, p].

        Features are the mean of the head's item vectors over the user's history, then those of the behaviour
        model, which alone are standardised.
        """

    def assign(self, x: Float32) -> Int32:
        """i32[u] task ids in 0 … C-1, or -1 for none."""


@runtime_checkable
class Head(Component, Protocol):
    """Personalises one user in closed form from the events of a history."""

    def fit(self, log: TrainingLog, rng: np.random.Generator, progress: Progress = no_progress) -> None:
        """Learn item tables and prior."""

    def item_matrix(self) -> Float32:
        """f32[n, m], the table that is ranked."""

    def query(self, histories: Histories, memberships: Memberships | None = None) -> Float32:
        """f32[b, m]; exactly 0 for an empty history where the prior mean is 0."""


@runtime_checkable
class FeedbackModel(Component, Protocol):
    """Turns events into training signal."""

    def fit(self, events: pl.DataFrame) -> None:
        """Learn from a frame of events in the canonical columns of `metarec_sdk.data.Interactions`."""

    def weigh(self, events: pl.DataFrame) -> tuple[Float32, Float32]:
        """(target f32[e], weight f32[e] ≥ 0) of each event.

        The frame may be the log of the fit, a few people's part of it, or a single new event. What an event
        gets may depend on other events of its user there, such as a purchase that followed.
        """


@dataclass(frozen=True, slots=True)
class MetaFit:
    """What a meta-learner learned from episodes."""

    adapters: State
    """Adapter arrays by name; empty when no adapter earned its place."""
    head: State
    """Arrays to `Head.restore`; empty to leave the head as it was."""
    structure: list[dict[str, Any]]
    """One row a task and site: ``task``, ``site``, ``rank`` kept (0 = dropped), ``spread`` (τ²)."""
    losses: dict[str, float]
    """Mean validation cross-entropy in nats, before and after, by part."""


@runtime_checkable
class MetaLearner(Component, Protocol):
    """Learns task adapters and head priors from episodes, batched over tasks."""

    def fit(
        self,
        episodes: Episodes,
        memberships: Memberships,
        *,
        n_tasks: int,
        backbone: Backbone,
        head: Head,
        validation: tuple[Episodes, Memberships],
        rng: np.random.Generator,
        start: MetaFit | None = None,
        progress: Progress = no_progress,
    ) -> MetaFit:
        """Learn from episodes (memberships row by row); ``start`` continues from an earlier fit."""
