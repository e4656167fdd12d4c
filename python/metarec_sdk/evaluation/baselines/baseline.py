"""What a baseline is and how it is declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from metarec_sdk.types import Ranker, TrainingLog


class Baseline(Ranker, Protocol):
    """A ranker that learns from a log of first visits with unit weights."""

    def fit(self, log: TrainingLog, rng: np.random.Generator) -> None:
        """Learn from u histories over n items."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides whether a baseline can run."""

    n_items: int
    """n."""
    has_time: bool
    """Whether the log has times, or only an order."""


def always(situation: Situation) -> str | None:
    """No reason to leave a baseline out."""
    return None


@dataclass(frozen=True, slots=True)
class Contestant:
    """A baseline with the settings it is tuned over."""

    name: str
    """Name in reports."""
    build: Callable[..., Baseline]
    """Builds an unfitted baseline from one of the settings."""
    grid: tuple[Mapping[str, Any], ...]
    """Settings, most promising first: a smaller budget takes the first ones. JSON-able."""
    personal: bool = True
    """False where the ranking is the same for everybody (with as much support)."""
    refusal: Callable[[Situation], str | None] = field(default=always)
    """Why it can't run here, or None."""
