"""One task: everybody is served by the parent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.types import Float32, Int32, Memberships, State


class OneTask:
    """The C = 1 case: no groups, so one adapter, the parent, serves everybody."""

    column: str | None = None
    n_tasks = 0

    def fit(self, x: Float32, rng: np.random.Generator) -> None:
        """Nothing to learn from x f32[u, p]."""

    def assign(self, x: Float32) -> Int32:
        """i32[u], all -1."""
        return np.full(len(x), -1, np.int32)

    def memberships(self, x: Float32) -> Memberships:
        """Everybody at the parent with weight 1."""
        return Memberships.parent(len(x))

    def state(self) -> State:
        """Nothing is fitted, so nothing is stored."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Nothing to take back."""
