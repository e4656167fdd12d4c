"""Which values of an event's aspects go together: a Bayesian network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_behaviour.aspects import Aspects, Coded
from metarec_behaviour.chow_liu import parents
from metarec_behaviour.scale import fitted, restored, scaled, scales
from metarec_sdk.errors import ArgumentError, ArtefactError
from metarec_sdk.types import Float32, Float64, Int32, State

_NAME = "behaviour/bayesian-network"


class BayesianNetwork:
    """Each aspect of an event depends on at most one other; events are independent given the network.

    The structure is a Chow-Liu forest (`metarec_behaviour.chow_liu.parents`); each conditional distribution
    is the posterior mean under a symmetric Dirichlet prior (Heckerman, "A tutorial on learning with Bayesian
    networks", 1995). Features are the mean log-probabilities of each aspect given its parent, so they tell
    what is unusual about somebody, and not just that something is.
    """

    def __init__(
        self,
        *,
        aspects: Sequence[str] = ("event_type", "gap", "hour", "weekday", "value"),
        categories: int = 50,
        smoothing: float = 1.0,
    ) -> None:
        """aspects: the variables, see `metarec_behaviour.aspects.Aspects`.

        categories: values kept of an aspect, the most frequent ones; the rest counts as one. smoothing:
        events that every value is given beforehand under every value of its parent.

        Raises `ArgumentError` for a number out of range or for aspects that aren't a list of names.
        """
        if not 0 < smoothing < np.inf:
            raise ArgumentError(f"smoothing must be > 0 and finite, got {smoothing}")
        self.smoothing = smoothing
        self._aspects = Aspects(aspects, categories)
        self._state: State = {}

    def fit(self, events: pl.DataFrame, rng: np.random.Generator) -> None:
        """Learn structure and probabilities. Nothing is random; ``rng`` is there for the protocol.

        Raises `DataError` for no events, `ColumnError` for an aspect that the log doesn't have.
        """
        coded = self._aspects.fit(events)
        sizes = self._aspects.sizes
        above = parents(coded.codes, sizes)
        tables = []
        for variable, (row, rows) in enumerate(self._rows(coded.codes, above)):
            v = sizes[variable]
            counts = np.bincount(row * v + coded.codes[:, variable], minlength=rows * v).reshape(rows, v)
            total = counts.sum(1, keepdims=True) + self.smoothing * v
            tables.append(np.log((counts + self.smoothing) / total).ravel())
        self._state = {
            "aspects": self._aspects.array(),
            "parents": above,
            "log_probabilities": np.concatenate(tables),
        }
        self._state.update(scales(self._summed(coded) / coded.lengths[:, None]))

    def features(self, events: pl.DataFrame) -> Float32:
        """f32[u, a], mean log-probability of each aspect given its parent, users in sorted order."""
        fitted(self._state, _NAME)
        coded = self._aspects.encode(events)
        return scaled(self._summed(coded) / coded.lengths[:, None], self._state)

    def log_likelihood(self, events: pl.DataFrame) -> Float64:
        """f64[u], nats, of all events of each user, users in sorted order."""
        fitted(self._state, _NAME)
        total: Float64 = self._summed(self._aspects.encode(events)).sum(1)
        return total

    def edges(self) -> list[tuple[str, str]]:
        """(parent, child) of each edge."""
        names = self._aspects.names
        above = fitted(self._state, _NAME)["parents"]
        return [(names[parent], names[child]) for child, parent in enumerate(above) if parent >= 0]

    def state(self) -> State:
        """``aspects`` u8[…], ``parents`` i32[a] (-1: none), ``log_probabilities`` f64[…], for each aspect a
        table [values of its parent, its values], and ``mean`` and ``scale`` f64[a]."""
        return dict(fitted(self._state, _NAME))

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` for anything else."""
        taken = restored(_NAME, state, ("parents", "log_probabilities"))
        self._aspects.restore(taken["aspects"])
        sizes, above = self._aspects.sizes, taken["parents"]
        if above.shape != (len(sizes),) or above.min() < -1 or above.max() >= len(sizes):
            raise ArtefactError(f"parents of {_NAME} must be i32[{len(sizes)}], each -1 or an aspect")
        wanted = sum(size * (sizes[parent] if parent >= 0 else 1) for size, parent in zip(sizes, above))
        if taken["log_probabilities"].shape != (wanted,):
            raise ArtefactError(f"log_probabilities of {_NAME} must be f64[{wanted}]")
        self._state = taken

    def _rows(self, codes: Int32, above: Int32) -> list[tuple[NDArray[Any], int]]:
        """For each aspect the row of its table that each event looks up, and the number of rows."""
        none = np.zeros(len(codes), np.int32)
        sizes = self._aspects.sizes
        return [(codes[:, parent], sizes[parent]) if parent >= 0 else (none, 1) for parent in above]

    def _summed(self, coded: Coded) -> Float64:
        """f64[u, a], log-probability of each aspect given its parent, over the events of each user."""
        flat, u, first = self._state["log_probabilities"], len(coded.lengths), 0
        summed = np.empty((u, coded.codes.shape[1]))
        for variable, (row, rows) in enumerate(self._rows(coded.codes, self._state["parents"])):
            v = self._aspects.sizes[variable]
            shown = flat[first + row * v + coded.codes[:, variable]]
            summed[:, variable] = np.bincount(coded.users, shown, u)
            first += rows * v
        return summed
