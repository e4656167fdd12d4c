"""Hidden states behind the sequence of a person's events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_behaviour.aspects import Aspects, Coded
from metarec_behaviour.forward import Posterior, posterior
from metarec_behaviour.scale import fitted, restored, scaled, scales
from metarec_sdk.errors import ArgumentError, ArtefactError
from metarec_sdk.types import Float32, Float64, Int32, Int64, State

_NAME = "behaviour/hmm"
_ARRAYS = ("symbols", "start", "transitions", "emissions")


class HiddenMarkov:
    """A person goes from state to state, and each state has its own shares of what an event shows.

    The aspects of an event together are one symbol. EM is hmmlearn's (Baum et al. 1970; Rabiner 1989), the
    states are then numbered by how many events they have. Features are the mean posterior of each state and
    the share of events after which the state changes.
    """

    def __init__(
        self,
        *,
        n_states: int = 6,
        aspects: Sequence[str] = ("event_type", "gap"),
        categories: int = 50,
        smoothing: float = 1e-3,
        restarts: int = 2,
        iterations: int = 50,
        max_events: int = 100_000,
    ) -> None:
        """n_states: K. aspects: what is looked at of an event, see `metarec_behaviour.aspects.Aspects`.

        categories: values kept of an aspect, the most frequent ones; the rest counts as one. smoothing: share
        of each learned distribution that is spread evenly, so that nothing is impossible. restarts: starts of
        EM, the likeliest model wins. iterations: of EM, at most. max_events: EM learns from people drawn at
        random until they have this many events.

        Raises `ArgumentError` for a number out of range or for aspects that aren't a list of names.
        """
        whole = {"n_states": n_states, "restarts": restarts, "iterations": iterations}
        for name, value in {**whole, "max_events": max_events}.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ArgumentError(f"{name} must be an integer ≥ 1, got {value!r}")
        if not 0 < smoothing < 1:
            raise ArgumentError(f"smoothing must be > 0 and < 1, got {smoothing}")
        self.n_states = n_states
        self.smoothing = smoothing
        self.restarts = restarts
        self.iterations = iterations
        self.max_events = max_events
        self._aspects = Aspects(aspects, categories)
        self._state: State = {}

    def fit(self, events: pl.DataFrame, rng: np.random.Generator) -> None:
        """Learn the states. The same rng gives the same states.

        Raises `DataError` for no events, `ColumnError` for an aspect that the log doesn't have.
        """
        coded = self._aspects.fit(events)
        mixed = self._mixed(coded)
        known = np.unique(mixed)
        symbols = _symbols(mixed, known)
        start, transitions, emissions = self._learned(symbols, coded.offsets, len(known) + 1, rng)
        found = posterior(start, transitions, emissions, symbols, coded.offsets)
        order = np.argsort(-found.states.sum(0), kind="stable")
        self._state = {
            "aspects": self._aspects.array(),
            "symbols": known,
            "start": start[order],
            "transitions": transitions[np.ix_(order, order)],
            "emissions": emissions[order],
            **scales(_described(found._replace(states=found.states[:, order]), coded.offsets)),
        }

    def features(self, events: pl.DataFrame) -> Float32:
        """f32[u, K + 1]: mean posterior of each state, and the share of changes (0 for a single event)."""
        found, offsets = self._posterior(events)
        return scaled(_described(found, offsets), self._state)

    def log_likelihood(self, events: pl.DataFrame) -> Float64:
        """f64[u], nats, of each user's sequence, users in sorted order."""
        return self._posterior(events)[0].log_likelihood

    def state(self) -> State:
        """``aspects`` u8[…], ``symbols`` i64[S-1], ``start`` f64[K], ``transitions`` f64[K, K], ``emissions``
        f64[K, S] (the first symbol is any other), ``mean`` and ``scale`` f64[K + 1]."""
        return dict(fitted(self._state, _NAME))

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` for anything else."""
        taken = restored(_NAME, state, _ARRAYS)
        self._aspects.restore(taken["aspects"])
        k, s = len(taken["start"]), len(taken["symbols"]) + 1
        for name, shape in {"transitions": (k, k), "emissions": (k, s), "mean": (k + 1,)}.items():
            if taken[name].shape != shape:
                raise ArtefactError(f"{name} of {_NAME} must be f64{list(shape)}, got {taken[name].shape}")
        if not (taken["emissions"] > 0).all():
            raise ArtefactError(f"emissions of {_NAME} must be > 0")
        self._state = taken

    def _posterior(self, events: pl.DataFrame) -> tuple[Posterior, Int64]:
        state = fitted(self._state, _NAME)
        coded = self._aspects.encode(events)
        symbols = _symbols(self._mixed(coded), state["symbols"])
        start, transitions, emissions = (state[name] for name in _ARRAYS[1:])
        return posterior(start, transitions, emissions, symbols, coded.offsets), coded.offsets

    def _mixed(self, coded: Coded) -> Int64:
        """i64[e], the codes of all aspects as one number."""
        whole = np.zeros(len(coded.codes), np.int64)
        for size, codes in zip(self._aspects.sizes, coded.codes.T):
            whole = whole * size + codes
        return whole

    def _learned(
        self, symbols: Int32, offsets: Int64, n_symbols: int, rng: np.random.Generator
    ) -> tuple[Float64, Float64, Float64]:
        from hmmlearn.hmm import CategoricalHMM

        order = rng.permutation(len(offsets) - 1)
        enough = np.cumsum(np.diff(offsets)[order]) <= self.max_events
        enough[0] = True
        chosen = Coded(offsets, symbols[:, None]).take(np.sort(order[enough]))
        shown = np.bincount(chosen.codes[:, 0], minlength=n_symbols) / len(chosen.codes)
        best, best_score = None, -np.inf
        for _ in range(self.restarts):
            model = CategoricalHMM(
                self.n_states,
                n_features=n_symbols,
                n_iter=self.iterations,
                tol=1e-6 * len(chosen.codes),
                # Without a second event there is nothing to learn of transitions.
                params="ste" if (chosen.lengths > 1).any() else "se",
                init_params="",
                implementation="scaling",
            )
            # Moods last: from transitions at random EM ends as often as not in states that alternate.
            model.transmat_ = _smoothed(np.eye(self.n_states), 0.1)
            model.startprob_ = np.full(self.n_states, 1 / self.n_states)
            tilted = shown * rng.exponential(size=(self.n_states, n_symbols))
            model.emissionprob_ = tilted / tilted.sum(1, keepdims=True)
            model.fit(chosen.codes, chosen.lengths)
            if model.monitor_.history[-1] > best_score:
                best, best_score = model, model.monitor_.history[-1]
        assert best is not None
        learned = (best.startprob_, best.transmat_, best.emissionprob_)
        start, transitions, emissions = (_smoothed(shares, self.smoothing) for shares in learned)
        return start, transitions, emissions


def _symbols(mixed: Int64, known: Int64) -> Int32:
    """i32[e], 1 + the place among the known ones, 0 for any other."""
    place = np.minimum(np.searchsorted(known, mixed), len(known) - 1)
    return np.where(known[place] == mixed, place + 1, 0).astype(np.int32)


def _smoothed(shares: Float64, part: float) -> Float64:
    """Each row with a part of it spread evenly; a row of zeros, of a state never left, is all even."""
    total = shares.sum(-1, keepdims=True)
    even = 1.0 / shares.shape[-1]
    own = np.where(total > 0, shares / np.where(total > 0, total, 1.0), even)
    result: Float64 = (1 - part) * own + part * even
    return result


def _described(found: Posterior, offsets: Int64) -> Float64:
    """f64[u, K + 1]; the last column is NaN for somebody with one event."""
    lengths = np.diff(offsets)
    occupied = np.add.reduceat(found.states, offsets[:-1], axis=0) / lengths[:, None]
    stays = np.add.reduceat(np.nan_to_num(found.stays), offsets[:-1])
    changes = np.where(lengths > 1, 1 - stays / np.maximum(lengths - 1, 1), np.nan)
    return np.column_stack([occupied, changes])
