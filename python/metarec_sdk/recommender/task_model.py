"""Which task a user belongs to, from the history, behaviour features or a known column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.types import Clusterer, Float32, Histories, Int32, Memberships


@dataclass
class TaskModel:
    """A fitted clusterer together with the space it works in."""

    clusterer: Clusterer
    n_tasks: int
    """C; at most one task means that everybody is at the parent."""
    table: Float32
    """f32[n, m], the head's item table: found tasks live in the collaborative space."""
    n_features: int
    """p, behaviour features beside the mean of the history; 0 where the clusterer sees a column alone."""
    requested: int = 1
    """The number of tasks that the clusterer was asked for."""

    def memberships(
        self, histories: Histories, features: Float32 | None = None, codes: Int32 | None = None
    ) -> Memberships:
        """Memberships of b users.

        ``features`` f32[b, p] are standardised behaviour features; unknown ones are 0, the mean.
        ``codes`` i32[b] are the category codes of a known column, -1 for unknown; the result carries them on
        as segments.
        """
        b = len(histories)
        if self.n_tasks <= 1 or b == 0:
            return Memberships.parent(b, codes)
        x = self.inputs(histories, features, codes)
        soft = getattr(self.clusterer, "memberships", None)
        if soft is not None:
            found: Memberships = soft(x)
            return Memberships(self.in_use(found.tasks), found.weights, codes)
        memberships = Memberships.parent(b, codes)
        memberships.tasks[:, 0] = self.in_use(self.clusterer.assign(x))
        return memberships

    def in_use(self, tasks: Int32) -> Int32:
        """The task ids, with -1 for those that nobody had at the fit: there is nothing but the parent."""
        return np.where(tasks < self.n_tasks, tasks, np.int32(-1))

    def inputs(
        self, histories: Histories, features: Float32 | None = None, codes: Int32 | None = None
    ) -> Float32:
        """What the clusterer wants to see of b users.

        f32[b, m + p], the mean of the history in the head's space beside the behaviour features; or with a
        column f32[b, 1], the codes; or, for a clusterer whose ``with_features`` is true, f32[b, 1 + m + p].
        """
        if self.clusterer.column is None:
            return clusterer_inputs(self.table, histories, features, self.n_features)
        known = np.full(len(histories), -1, np.int32) if codes is None else codes
        column = known[:, None].astype(np.float32)  # [b, 1]
        if not sees_features(self.clusterer):
            return column
        return np.hstack([column, clusterer_inputs(self.table, histories, features, self.n_features)])


def sees_features(clusterer: Clusterer) -> bool:
    """Whether the clusterer is shown features; with a column, only where its ``with_features`` is true."""
    return clusterer.column is None or bool(getattr(clusterer, "with_features", False))


@dataclass(frozen=True)
class RandomTasks:
    """Tasks handed out by chance with the shares of real ones: what they reach isn't owed to a grouping."""

    shares: NDArray[np.float64]
    """f64[C + 1], share of each task, the parent's last."""
    seed: int

    @property
    def n_tasks(self) -> int:
        """C."""
        return len(self.shares) - 1

    def memberships(
        self, histories: Histories, features: Float32 | None = None, codes: Int32 | None = None
    ) -> Memberships:
        """Hard memberships of b users, the same at every call with as many."""
        found = Memberships.parent(len(histories), codes)
        drawn = np.random.default_rng(self.seed).choice(self.n_tasks + 1, len(histories), p=self.shares)
        found.tasks[:, 0] = np.where(drawn == self.n_tasks, -1, drawn)
        return found


def clusterer_inputs(
    table: Float32, histories: Histories, features: Float32 | None, n_features: int
) -> Float32:
    """f32[b, m + p], see `TaskModel.inputs`; an empty history is at the mean of the catalogue, 0."""
    b = len(histories)
    row = np.repeat(np.arange(b), histories.lengths)
    mean = np.zeros((b, table.shape[1]), np.float32)
    np.add.at(mean, row, table[histories.items])
    mean /= np.maximum(histories.lengths, 1)[:, None]
    if features is None:
        features = np.zeros((b, n_features), np.float32)
    return np.ascontiguousarray(np.concatenate([mean, features], axis=1), np.float32)
