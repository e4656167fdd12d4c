"""A log with what is known about its items and users."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from metarec_sdk.data.interactions import Interactions


@dataclass(frozen=True)
class Dataset:
    """What `metarec_sdk.data.datasets.load` returns."""

    name: str
    """The name it was asked for by."""
    interactions: Interactions
    """The log."""
    items: pl.DataFrame | None
    """One row an item, keyed by ``item_id`` (the ids of the log), where the source has it."""
    users: pl.DataFrame | None
    """One row a user, keyed by ``user_id`` (the ids of the log), where the source has it."""
    terms: str
    """Under which terms the data may be used, and what to cite."""

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {self.interactions!r})"
