"""What an observer learns about a batch."""

from __future__ import annotations

from dataclasses import dataclass

from metarec_sdk.types import Histories


@dataclass(frozen=True, slots=True)
class RankRequest:
    """A batch of histories that was ranked."""

    histories: Histories
    """b rows."""
    k: int
    """Length of the lists that were asked for."""
    generation: str | None = None
    """Id of the generation that served the batch; None for an unpublished recommender."""
