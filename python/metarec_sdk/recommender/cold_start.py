"""What somebody without any history is shown: a choice of its own, made on validation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metarec_sdk.recommender.popularity import PopularityForms
from metarec_sdk.types import Float32, Histories, Int32, Int64, Memberships

START = "start token"
SEGMENT = "segment prior"

_PRIOR_EVENTS = 200.0


@dataclass(frozen=True)
class ColdStart:
    """The chosen source: a popularity form, the backbone's start vector, or the prior of a known task."""

    choice: str
    column: int
    """Column of the popularity form in the item matrix, counted from its end; 0 for another source."""
    segment_bias: Float32
    """f32[C, n], log popularity within each task; empty unless tasks come from a column."""

    @property
    def task_bias(self) -> Float32 | None:
        """What the item index adds for the tasks that `bias` names."""
        return self.segment_bias if self.choice == SEGMENT and len(self.segment_bias) else None

    def query(self, h: Float32, width: int) -> Float32:
        """f32[b, width] for b empty histories with backbone vectors h f32[b, d]."""
        queries = np.zeros((len(h), width), np.float32)
        if self.choice == START:
            queries[:, : h.shape[1]] = h
        else:
            queries[:, width - self.column] = 1.0
        return queries

    def extended(self, popularity: PopularityForms) -> ColdStart:
        """The same choice over a catalogue that has grown: new items have no prior within a task."""
        missing = len(popularity.table) - self.segment_bias.shape[1]
        bias = np.pad(self.segment_bias, [(0, 0), (0, missing)])
        return replace(self, column=popularity.column_from_end(self.choice), segment_bias=bias)

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
