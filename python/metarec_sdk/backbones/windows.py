"""Cuts histories into training windows and draws the target of each position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from metarec_sdk.data.episodes import shuffled
from metarec_sdk.types import Float32, Histories, Int64

SHORT_POSITIONS = 10
"""A query after at most this many events counts as short."""

SET_HORIZON = 10
"""With the set target, the target is one of this many next events."""

_BUCKET_BATCHES = 8
"""Windows are sorted by length within this many batches: little padding, still shuffled."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows of similar length, padded on the right with item 0 and weight 0."""

    inputs: Int64
    """i64[b, l], the events that are read."""
    targets: Int64
    """i64[b, l + 1]; column j is predicted from the first j events of the row."""
    weights: Float32
    """f32[b, l + 1], ≥ 0: event weight × share of the position."""
    lengths: Int64
    """i64[b], targets of each row; what follows is padding."""
    timestamps: Int64
    """i64[b, l], microseconds since 1970 UTC of the inputs; 0 in the padding."""


class WindowSampler:
    """Draws one epoch of windows after another.

    Each user's events are cut at a random phase into windows of ``history_limit + 1`` targets, so that in an
    epoch every event is predicted once, after a random number 0 … history_limit of events. ``short_share`` is
    the least share of the loss that falls on queries after at most 10 events (`SHORT_POSITIONS`): where the
    windows give them less, they are weighted up. ``shuffle`` puts every user's events into a new random order
    before each epoch.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        history_limit: int,
        short_share: float,
        set_target: bool,
        batch_size: int,
        shuffle: bool = False,
    ) -> None:
        self._histories = histories
        self._span = history_limit + 1
        self._short_share = short_share
        self._set_target = set_target
        self._batch_size = batch_size
        self._shuffle = shuffle

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The batches of one epoch, shuffled."""
        if self._shuffle:
            self._histories = shuffled(self._histories, rng)
        starts, lengths, ends = self._cut(rng)
        order = rng.permutation(len(starts))
        bucket = self._batch_size * _BUCKET_BATCHES
        groups = [
            part
            for first in range(0, len(order), bucket)
            for part in self._by_length(order[first : first + bucket], lengths)
        ]
        scale = self._short_scale(starts, lengths)
        for index in rng.permutation(len(groups)):
            rows = groups[index]
            yield self._batch(starts[rows], lengths[rows], ends[rows], scale, rng)

    def n_batches(self) -> int:
        """Batches of an epoch, roughly: the phase changes it a little."""
        windows = np.ceil(self._histories.lengths / self._span).sum() + 0.5 * len(self._histories)
        return max(1, round(float(windows) / self._batch_size))

    def _cut(self, rng: np.random.Generator) -> tuple[Int64, Int64, Int64]:
        """(first event, number of targets, end of the user's history) of each window."""
        begin, end = self._histories.offsets[:-1], self._histories.offsets[1:]
        phase = rng.integers(1, self._span + 1, len(begin))  # targets of the first window
        first = np.minimum(phase, end - begin)
        rest = end - begin - first
        pieces = (first > 0).astype(np.int64) + -(-rest // self._span)  # windows of each user
        user = np.repeat(np.arange(len(begin)), pieces)
        place = np.arange(len(user)) - np.repeat(np.cumsum(pieces) - pieces, pieces)  # 0, 1, … in the user
        starts = begin[user] + np.where(place == 0, 0, first[user] + (place - 1) * self._span)
        stops = np.minimum(begin[user] + first[user] + place * self._span, end[user])
        return starts, stops - starts, end[user]

    def _by_length(self, rows: Int64, lengths: Int64) -> list[Int64]:
        ordered = rows[np.argsort(lengths[rows], kind="stable")]
        return [ordered[i : i + self._batch_size] for i in range(0, len(ordered), self._batch_size)]

    def _short_scale(self, starts: Int64, lengths: Int64) -> tuple[float, float]:
        """Factors of short and long positions that give the short ones at least their share."""
        mass = np.concatenate([[0.0], np.cumsum(self._histories.weights, dtype=np.float64)])
        total = float(mass[-1])
        short = float((mass[starts + np.minimum(lengths, SHORT_POSITIONS + 1)] - mass[starts]).sum())
        if total <= 0.0 or short <= 0.0 or short >= self._short_share * total:
            return 1.0, 1.0
        return self._short_share * total / short, (1.0 - self._short_share) * total / (total - short)

    def _batch(
        self, starts: Int64, lengths: Int64, ends: Int64, scale: tuple[float, float], rng: np.random.Generator
    ) -> Batch:
        columns = np.arange(lengths.max())
        real = columns < lengths[:, None]  # [b, l + 1]
        event = np.where(real, starts[:, None] + columns, 0)
        target = event
        if self._set_target:
            ahead = np.minimum(SET_HORIZON, ends[:, None] - event)
            target = event + np.where(real, np.floor(rng.random(event.shape) * ahead), 0).astype(np.int64)
        items = self._histories.items
        share = np.where(columns <= SHORT_POSITIONS, scale[0], scale[1])
        weights = np.where(real, self._histories.weights[target] * share, 0.0).astype(np.float32)
        inputs = np.where(real, items[event], 0)[:, :-1].astype(np.int64)
        timestamps = np.where(real, self._histories.timestamps[event], 0)[:, :-1]
        targets = np.where(real, items[target], 0).astype(np.int64)
        return Batch(inputs, targets, weights, lengths, timestamps)
