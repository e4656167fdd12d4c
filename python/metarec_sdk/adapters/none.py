"""No meta-learning: the head keeps its empirical-Bayes prior and the backbone has no adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.types import (
    Backbone,
    Episodes,
    Head,
    Memberships,
    MetaFit,
    Progress,
    State,
    no_progress,
)


class NoMetaLearning:
    """The ablation, and the choice where torch isn't installed: nothing is learned from episodes."""

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
        """An empty fit, whatever the episodes and the start."""
        return MetaFit(adapters={}, head={}, structure=[], losses={})

    def state(self) -> State:
        """Nothing is fitted, so nothing is stored."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Nothing to take back."""
