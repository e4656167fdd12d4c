"""What somebody without any history is shown: a choice of its own, made on validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from metarec_sdk.recommender.popularity import PopularityForms
from metarec_sdk.types import Float32, Histories, Int32, Int64, Memberships

START = "start token"
SEGMENT = "segment prior"
BY_SEGMENT = ", by segment"
"""Behind the name of a popularity form: that form, moved by the groups that the known segment is in."""

_PRIOR_EVENTS = 200.0


@dataclass(frozen=True)
class ColdStart:
    """The chosen source: a popularity form, as it is or moved by the person's segment, the backbone's start
    vector, or the prior of a known task."""

    choice: str
    column: int
    """Column of the popularity form in the item matrix, counted from its end."""
    segment_bias: Float32
    """f32[C, n], log popularity within each task; empty unless tasks come from a column."""

    @property
    def task_bias(self) -> Float32 | None:
        """What the item index adds for the tasks that `bias` names."""
        return self.segment_bias if self.choice == SEGMENT and len(self.segment_bias) else None

    @classmethod
    def of(cls, choice: str, popularity: PopularityForms, segment_bias: Float32) -> ColdStart:
        """The source of that name."""
        return cls(choice, popularity.column_from_end(choice.removesuffix(BY_SEGMENT)), segment_bias)

    def query(self, h: Float32, groups: Float32, n_forms: int) -> Float32:
        """The queries of b empty histories in the item matrix [backbone and head | groups | forms].

        ``h`` f32[b, d + m] are the backbone's vectors, 0 behind them, and ``groups`` f32[b, C] the mixture's
        memberships of the people's segments.
        """
        forms = np.zeros((len(h), n_forms), np.float32)
        if self.choice == START:
            return np.concatenate([h, np.zeros_like(groups), forms], axis=1)
        forms[:, -self.column] = 1.0
        if not self.choice.endswith(BY_SEGMENT):
            groups = np.zeros_like(groups)
        else:
            forms[:, 0] -= 1.0  # the groups' columns hold the all-time form besides what moves it
        return np.concatenate([np.zeros_like(h), groups, forms], axis=1)

    def extended(self, popularity: PopularityForms) -> ColdStart:
        """The same choice over a catalogue that has grown: new items have no prior within a task."""
        missing = len(popularity.table) - self.segment_bias.shape[1]
        return ColdStart.of(self.choice, popularity, np.pad(self.segment_bias, [(0, 0), (0, missing)]))

    def bias(self, lengths: Int64, memberships: Memberships) -> dict[str, Any]:
        """Arguments of `ItemIndex.topk` that add the prior of the task where the history is empty."""
        if self.task_bias is None or lengths.all():
            return {}
        tasks = np.where(lengths == 0, memberships.tasks[:, 0], -1).astype(np.int32)
        return {"tasks": tasks}


def segment_bias(histories: Histories, tasks: Int32, n_tasks: int, popularity: PopularityForms) -> Float32:
    """f32[C, n], log popularity within each task relative to everybody's, shrunk towards it.

    ``tasks`` i32[u] is the task of each history, -1 for none.
    """
    n = len(popularity.table)
    overall = np.exp(popularity.table[:, 0].astype(np.float64))
    of_event = np.repeat(tasks, histories.lengths)
    inside = of_event >= 0
    cell = of_event[inside].astype(np.int64) * n + histories.items[inside]
    counts = np.bincount(cell, histories.weights[inside], n_tasks * n).reshape(n_tasks, n)
    share = (counts + _PRIOR_EVENTS * overall) / (counts.sum(1, keepdims=True) + _PRIOR_EVENTS)
    return np.ascontiguousarray(np.log(share / overall), np.float32)
