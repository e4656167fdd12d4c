"""The built-in behaviour model: counts and rates of what people do, and the shares of event types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_sdk.data.features import behaviour_features
from metarec_sdk.data.interactions import Interactions
from metarec_sdk.data.standardise import standardise
from metarec_sdk.data.vocabulary import Vocabulary
from metarec_sdk.errors import ArgumentError, ArtefactError, NotFittedError
from metarec_sdk.types import Float32, Float64, State


class Counts:
    """Features are those of `behaviour_features`, standardised over the people they are asked for.

    The likelihood is multinomial: each event is of type t with probability
    ``(n_t + α) / (n + α·(T + 1))``, n_t events of T types in the log and one share for any other type.
    """

    def __init__(self, *, smoothing: float = 1.0) -> None:
        """smoothing: α > 0, events that every type is given beforehand."""
        if not smoothing > 0:
            raise ArgumentError(f"smoothing must be > 0, got {smoothing}")
        self.smoothing = smoothing
        self._types: list[str] | None = None
        self._counts: Float64 = np.zeros(0)

    def fit(self, events: pl.DataFrame, rng: np.random.Generator) -> None:
        """Count the event types. Nothing is random; ``rng`` is there for the protocol."""
        table = events["event_type"].value_counts().sort("event_type")
        self._types = table["event_type"].to_list()
        self._counts = table["count"].to_numpy().astype(np.float64)

    def features(self, events: pl.DataFrame) -> Float32:
        """f32[u, p], users in sorted order; columns as in `behaviour_features`, clipped to ± 5 deviations."""
        timed = "timestamp" in events.columns
        if not timed:
            events = events.with_columns(timestamp=pl.col("row"))
        users = Vocabulary.from_ids(events["user_id"])
        return standardise(behaviour_features(Interactions(events, timed)), users).matrix

    def log_likelihood(self, events: pl.DataFrame) -> Float64:
        """f64[u], nats, users in sorted order."""
        types, counts = self._fitted()
        share = (counts + self.smoothing) / (counts.sum() + self.smoothing * (len(types) + 1))
        other = self.smoothing / (counts.sum() + self.smoothing * (len(types) + 1))
        surprise = dict(zip(types, np.log(share)))
        logs = pl.col("event_type").replace_strict(surprise, default=np.log(other), return_dtype=pl.Float64)
        summed = events.group_by("user_id").agg(total=logs.sum()).sort("user_id")
        return summed["total"].to_numpy().astype(np.float64)

    def state(self) -> State:
        """``types`` u8[…], the types as JSON text; ``counts`` f64[T]."""
        types, counts = self._fitted()
        return {"types": np.frombuffer(json.dumps(types).encode(), np.uint8).copy(), "counts": counts.copy()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` for anything else."""
        try:
            types = json.loads(np.asarray(state["types"], np.uint8).tobytes())
            counts = np.asarray(state["counts"], np.float64)
            if len(types) != len(counts) or (counts < 0).any():
                raise ValueError(f"{len(types)} types with {len(counts)} counts")
        except (KeyError, ValueError, TypeError) as error:
            raise ArtefactError(f"this is no state of a counts model: {error}") from error
        self._types, self._counts = types, counts

    def _fitted(self) -> tuple[list[str], Float64]:
        if self._types is None:
            raise NotFittedError("Counts isn't fitted; call fit(events, rng) or restore(state) first")
        return self._types, self._counts
