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
    networks", 1995). Features are residual shares: how often somebody shows a value, less how often the
    network expects it from the parent's. That is the gradient of their mean log-likelihood in the logits
    (the Fisher score of Jaakkola & Haussler, 1999), and tells what is unusual about them.
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
        for variable, v in enumerate(sizes):
            row = _above(coded.codes, above[variable])
            rows = sizes[above[variable]] if above[variable] >= 0 else 1
            counts = np.bincount(row * v + coded.codes[:, variable], minlength=rows * v).reshape(rows, v)
            total = counts.sum(1, keepdims=True) + self.smoothing * v
            tables.append(np.log((counts + self.smoothing) / total).ravel())
        self._state = {
            "aspects": self._aspects.array(),
            "parents": above,
            "log_probabilities": np.concatenate(tables),
        }
        self._state.update(scales(self._residuals(coded)))

    def features(self, events: pl.DataFrame) -> Float32:
        """f32[u, p], residual share of each value of each aspect, users in sorted order."""
        fitted(self._state, _NAME)
        coded = self._aspects.encode(events)
        return scaled(self._residuals(coded), self._state)

    def log_likelihood(self, events: pl.DataFrame) -> Float64:
        """f64[u], nats, of all events of each user, users in sorted order."""
        fitted(self._state, _NAME)
        coded = self._aspects.encode(events)
        total = np.zeros(len(coded.codes))
        for variable, table in enumerate(self._tables()):
            row = _above(coded.codes, self._state["parents"][variable])
            total += table[row, coded.codes[:, variable]]
        return np.bincount(coded.users, total, len(coded.lengths)).astype(np.float64)

    def edges(self) -> list[tuple[str, str]]:
        """(parent, child) of each edge."""
        names = self._aspects.names
        above = fitted(self._state, _NAME)["parents"]
        return [(names[parent], names[child]) for child, parent in enumerate(above) if parent >= 0]

    def state(self) -> State:
        """``aspects`` u8[…], ``parents`` i32[a] (-1: none), ``log_probabilities`` f64[…], for each aspect a
        table [values of its parent, its values], and ``mean`` and ``scale`` f64[p]."""
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

    def _tables(self) -> list[Float64]:
        """For each aspect its log-probabilities f64[values of its parent, its values]."""
        sizes, above, flat = self._aspects.sizes, self._state["parents"], self._state["log_probabilities"]
        shapes = [(sizes[parent] if parent >= 0 else 1, size) for size, parent in zip(sizes, above)]
        parts = np.split(flat, np.cumsum([rows * v for rows, v in shapes])[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes)]

    def _residuals(self, coded: Coded) -> Float64:
        """f64[u, p]: of each value of each aspect, its share in the events less what the network expects."""
        residuals = []
        for variable, table in enumerate(self._tables()):
            expected = np.exp(table)[_above(coded.codes, self._state["parents"][variable])]  # [e, v]
            expected[np.arange(len(expected)), coded.codes[:, variable]] -= 1.0
            residuals.append(np.add.reduceat(-expected, coded.offsets[:-1]) / coded.lengths[:, None])
        return np.concatenate(residuals, axis=1)


def _above(codes: Int32, parent: int) -> Int32:
    """i32[e], the value of the parent in each event; 0 for a root, whose table has one row."""
    return codes[:, parent] if parent >= 0 else np.zeros(len(codes), np.int32)
