"""Dwell time against what is usual for the item.

Half a minute on a headline is long, on a film it is short. So the logarithm of a dwell is compared with that
of others on the same item, as in Yi et al., RecSys 2014, "Beyond Clicks: Dwell Time for Personalization", who
normalise log dwell times by context. Relevance is ``2 Φ((log(1 + s) − μ_i) / σ)``: 1 for the usual dwell on
the item, near 0 for a bounce, near 2 for the longest. ``μ_i = (n_i m_i + κ μ) / (n_i + κ)`` shrinks the mean
m_i of the item's n_i dwells to that of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_feedback.columns_and_states import (
    answer,
    as_bytes,
    as_texts,
    fitted,
    mean_weight,
    numbers,
    restored,
)
from metarec_sdk.errors import ArgumentError, ColumnError, DataError
from metarec_sdk.types import Float32, Float64, State

_NAMES = ("items", "mean", "spread", "scale")


class DwellFeedback:
    """Events of type ``dwell`` by their seconds (column ``value``); an event of another type, and a dwell of
    which the seconds are null, has relevance 1.

    Target: the relevance, 0 … 2. Weight: the same, with the mean 1 over the log of `fit`.
    """

    def __init__(self, *, shrinkage: float = 20.0) -> None:
        """shrinkage: κ ≥ 0, dwells that an item's own mean has to outweigh.

        Raises `ArgumentError` for a negative one.
        """
        if not 0 <= shrinkage < np.inf:
            raise ArgumentError(f"shrinkage must be a finite number ≥ 0, got {shrinkage}")
        self.shrinkage = shrinkage
        self._state: State = {}

    def fit(self, events: pl.DataFrame) -> None:
        """Learn what is usual from events with ``event_type``, ``item_id`` and ``value``.

        Raises `ColumnError` for a missing or non-numeric column, `DataError` for a value that is negative or
        not finite.
        """
        dwell, logs = self._logs(events)
        frame = pl.DataFrame(
            {"item": events["item_id"].cast(pl.String).filter(pl.Series(dwell)), "log": logs}
        )
        mean = float(logs.mean()) if len(logs) else 0.0
        means = (
            frame.group_by("item", maintain_order=True)
            .agg(n=pl.len(), mean=pl.col("log").mean())
            .sort("item")
        )
        n = means["n"].to_numpy()
        own = (n * means["mean"].to_numpy() + self.shrinkage * mean) / np.maximum(n + self.shrinkage, 1e-12)
        places = np.searchsorted(means["item"].to_numpy(), frame["item"].to_numpy())
        spread = float(np.sqrt(np.mean(np.square(logs - own[places])))) if len(logs) else 0.0
        self._state = {
            "items": as_bytes(means["item"].to_list()),
            "mean": np.concatenate([[mean], own]),
            "spread": np.array([spread if spread > 0 else 1.0]),
            "scale": np.ones(1),
        }
        self._state["scale"] = np.array([mean_weight(self._relevance(events))])

    def weigh(self, events: pl.DataFrame) -> tuple[Float32, Float32]:
        """(target f32[e], weight f32[e]); an item that the fit didn't have is compared with the whole log.

        Raises as `fit` does.
        """
        relevance = self._relevance(events)
        return answer(relevance, relevance, float(self._state["scale"][0]))

    def state(self) -> State:
        """``items`` u8, their ids; ``mean`` f64[1 + items], of the log and of each; ``spread``, ``scale``."""
        return dict(fitted(self._state, "feedback/dwell"))

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` where an array is missing."""
        self._state = restored("feedback/dwell", state, _NAMES)

    def _relevance(self, events: pl.DataFrame) -> Float64:
        from scipy.special import ndtr

        state = fitted(self._state, "feedback/dwell")
        dwell, logs = self._logs(events)
        relevance = np.ones(len(events))
        if not len(logs):
            return relevance
        if len(state["mean"]) == 1:  # no dwell in the log of the fit: nothing is usual
            return relevance
        known = np.array(as_texts(state["items"]), object)
        items = events["item_id"].cast(pl.String).filter(pl.Series(dwell)).to_numpy()
        place = np.minimum(np.searchsorted(known, items), len(known) - 1)
        usual = np.where(known[place] == items, state["mean"][1 + place], state["mean"][0])
        relevance[dwell] = 2 * ndtr((logs - usual) / state["spread"][0])
        return relevance

    def _logs(self, events: pl.DataFrame) -> tuple[NDArray[np.bool_], Float64]:
        """(which events are dwells with a value bool[e], log(1 + seconds) of these)."""
        for name in ("event_type", "item_id"):
            if name not in events.columns:
                raise ColumnError.missing(name, "event", events.columns)
        dwell = (events["event_type"].cast(pl.String) == "dwell").fill_null(False).to_numpy()
        if not dwell.any():
            return dwell, np.zeros(0)
        seconds = numbers(events, "value", "seconds")
        dwell &= events["value"].is_not_null().to_numpy()
        seconds = seconds[dwell]
        wrong = ~(np.isfinite(seconds) & (seconds >= 0))
        if wrong.any():
            row = int(np.flatnonzero(dwell)[np.flatnonzero(wrong)[0]])
            raise DataError(
                f"row {row}: value of a dwell event is {seconds[wrong][0]}, wanted seconds ≥ 0 or null"
            )
        return dwell, np.log1p(seconds)
