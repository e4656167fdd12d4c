"""Known tasks: market, tenant, domain, device or segment, read from a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, NotFittedError
from metarec_sdk.tasks.features import checked_features
from metarec_sdk.types import Float32, Int32, Int64, Memberships, State


class ColumnTasks:
    """The values of a column are the tasks; values with too few users fall back to the parent.

    Task ids follow the order of the category codes among the values that are kept; where a later `fit`
    keeps other values, `metarec_sdk.tasks.match_members` says which old task each new one is.
    """

    def __init__(self, *, column: str = "market", min_size: int = 50) -> None:
        """column: of the log or of the users' table. min_size: users below which a value has no task."""
        if not column:
            raise ArgumentError("column is empty; give the name of the column that holds the tasks")
        if min_size < 1:
            raise ArgumentError(f"min_size must be ≥ 1, got {min_size}")
        self.column: str | None = column
        self.min_size = min_size
        self._codes: Int64 | None = None

    @property
    def n_tasks(self) -> int:
        """C, the number of values with enough users."""
        return len(self._fitted())

    def fit(self, x: Float32, rng: np.random.Generator) -> None:
        """Learn which codes of x f32[u, 1] (-1 for unknown) have at least min_size users."""
        codes = self._read(x)
        values, counts = np.unique(codes[codes >= 0], return_counts=True)
        self._codes = values[counts >= self.min_size].astype(np.int64)

    def assign(self, x: Float32) -> Int32:
        """i32[u] task of each code of x f32[u, 1]; -1 for unknown, unseen and rare codes."""
        known, codes = self._fitted(), self._read(x)
        if not len(known):
            return np.full(len(codes), -1, np.int32)
        place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        return np.where(known[place] == codes, place, -1).astype(np.int32)

    def memberships(self, x: Float32) -> Memberships:
        """Known tasks are hard: weight 1 on the user's task."""
        memberships = Memberships.parent(len(x))
        memberships.tasks[:, 0] = self.assign(x)
        return memberships

    def state(self) -> State:
        """``codes`` i64[C], the category code of each task."""
        return {"codes": self._fitted()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave."""
        self._codes = np.asarray(state["codes"], np.int64)

    def _read(self, x: Float32) -> Int64:
        codes = checked_features(x, 1)[:, 0]
        whole = codes.astype(np.int64)
        if (wrong := (whole != codes) | (codes < -1)).any():
            row = int(np.flatnonzero(wrong)[0])
            raise ArgumentError(
                f"x[{row}, 0] is {codes[row]}; x holds category codes 0, 1, 2, … of column {self.column!r}, "
                f"-1 for unknown"
            )
        return whole

    def _fitted(self) -> Int64:
        if self._codes is None:
            raise NotFittedError("ColumnTasks isn't fitted; call fit(x, rng) or restore(state) first")
        return self._codes
