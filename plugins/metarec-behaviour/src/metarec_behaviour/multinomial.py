"""Personal shares of what events show, with a Dirichlet prior that is learned from everybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_behaviour.aspects import Aspects, Coded
from metarec_behaviour.dirichlet import concentration, log_probability
from metarec_behaviour.scale import fitted, restored, scaled, scales
from metarec_sdk.errors import ArgumentError, ArtefactError
from metarec_sdk.types import Float32, Float64, State

_NAME = "behaviour/multinomial"


class DirichletMultinomial:
    """Each person draws every aspect of an event from shares of their own; the shares come from a Dirichlet.

    Aspects are independent given the person. Features are the posterior means of the shares, so somebody with
    few events is near the average. The likelihood has the shares integrated out: it asks how likely the
    events are of *somebody*, and is kinder than `Counts` to people who keep to their own ways. (Minka,
    "Estimating a Dirichlet distribution", 2000.)
    """

    def __init__(
        self,
        *,
        aspects: Sequence[str] = ("event_type", "hour"),
        categories: int = 50,
        smoothing: float = 0.01,
    ) -> None:
        """aspects: what is looked at of an event, see `metarec_behaviour.aspects.Aspects`.

        categories: values kept of an aspect, the most frequent ones; the rest counts as one. smoothing: the
        least concentration of a value, so that one never seen stays possible.

        Raises `ArgumentError` for a number out of range or for aspects that aren't a list of names.
        """
        if not 0 < smoothing < 1e3:
            raise ArgumentError(f"smoothing must be > 0 and < 1000, got {smoothing}")
        self.smoothing = smoothing
        self._aspects = Aspects(aspects, categories)
        self._state: State = {}

    def fit(self, events: pl.DataFrame, rng: np.random.Generator) -> None:
        """Learn the prior of each aspect. Nothing is random; ``rng`` is there for the protocol.

        Raises `DataError` for no events, `ColumnError` for an aspect that the log doesn't have.
        """
        counts = self._counts(self._aspects.fit(events))
        alpha = [concentration(part, least=self.smoothing) for part in counts]
        self._state = {
            "aspects": self._aspects.array(),
            "alpha": np.concatenate(alpha),
            **scales(_posterior(counts, alpha)),
        }

    def features(self, events: pl.DataFrame) -> Float32:
        """f32[u, p], posterior mean of the share of each value of each aspect, users in sorted order."""
        alpha = self.alpha()
        return scaled(_posterior(self._counts(self._aspects.encode(events)), alpha), self._state)

    def log_likelihood(self, events: pl.DataFrame) -> Float64:
        """f64[u], nats, of each user's events in their order: the sum over the aspects."""
        alpha = self.alpha()
        counts = self._counts(self._aspects.encode(events))
        total: Float64 = np.sum([log_probability(n, a) for n, a in zip(counts, alpha)], axis=0)
        return total

    def alpha(self) -> list[Float64]:
        """f64[v] of each aspect: the concentration of its values; the first stands for all other values."""
        whole = fitted(self._state, _NAME)["alpha"]
        return np.split(whole, np.cumsum(self._aspects.sizes)[:-1])

    def state(self) -> State:
        """``aspects`` u8[…], ``alpha`` f64[p], ``mean`` and ``scale`` f64[p]."""
        return dict(fitted(self._state, _NAME))

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` for anything else."""
        taken = restored(_NAME, state, ("alpha",))
        self._aspects.restore(taken["aspects"])
        shape = (sum(self._aspects.sizes),)
        if taken["alpha"].shape != shape or not (taken["alpha"] > 0).all():
            raise ArtefactError(f"alpha of {_NAME} must be {shape[0]} numbers > 0")
        self._state = taken

    def _counts(self, coded: Coded) -> list[Float64]:
        """f64[u, v] for each aspect."""
        u = len(coded.lengths)
        return [
            np.bincount(coded.users * size + codes, minlength=u * size).reshape(u, size).astype(np.float64)
            for size, codes in zip(self._aspects.sizes, coded.codes.T)
        ]


def _posterior(counts: list[Float64], alpha: list[Float64]) -> Float64:
    shares = [(n + a) / (n.sum(1, keepdims=True) + a.sum()) for n, a in zip(counts, alpha)]
    return np.concatenate(shares, axis=1)  # [u, p]
