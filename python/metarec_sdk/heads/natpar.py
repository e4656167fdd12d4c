"""``natpar``: the head that needs no solve; a user is the sum of their events in a whitened item table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk import _core
from metarec_sdk.errors import ArgumentError, ArtefactError, NotFittedError
from metarec_sdk.heads.age import aged_weights
from metarec_sdk.heads.ials import Ials, padded_rows
from metarec_sdk.heads.native_errors import native_errors
from metarec_sdk.heads.parameters import number, restored
from metarec_sdk.heads.prior import KAPPA_EDGES, empirical_bayes_variance, mean_of_members
from metarec_sdk.heads.user_state import UserState
from metarec_sdk.heads.whitening import Whitening, smoothed_popularity
from metarec_sdk.types import Float32, Histories, Memberships, Progress, State, TrainingLog, no_progress

LEAST_VARIANCE = 1e-4
MOST_VARIANCE = 10.0
"""Bounds of the empirical-Bayes prior variance; under popularity each dimension of ψ has variance 1."""


class Natpar:
    """Gaussian posterior of a user's softmax weights, linearised at the popularity prior.

    ``ŵ = (r + μ/s) / (κ + 1/s)`` elementwise, with ``r = Σ ω_j ψ_in[j]``, ``κ = Σ ω_j`` and the prior
    ``w ~ N(μ, diag s)``; items are ranked by ``ŵ · ψ_out[i]``. See `Whitening` for ψ; s starts as
    `empirical_bayes_variance` and everything in `state` can be learned further from episodes.
    """

    def __init__(
        self,
        *,
        factors: int = 64,
        iterations: int = 12,
        regularization: float | None = None,
        unobserved_weight: float | None = None,
        exponent: float = 1.0,
        popularity_smoothing: float = 1.0,
        whitening_floor: float = 1e-3,
        prior_scale: float = 0.3,
        prior_gain: float = 1.0,
        warm_start: bool = False,
    ) -> None:
        self.training = Ials(
            factors=factors,
            iterations=iterations,
            regularization=regularization,
            unobserved_weight=unobserved_weight,
            exponent=exponent,
        )
        self.popularity_smoothing = number("popularity_smoothing", popularity_smoothing, least=0.0)
        self.whitening_floor = number("whitening_floor", whitening_floor, least=0.0)
        self.prior_scale = number("prior_scale", prior_scale, above=0.0)
        self.prior_gain = number("prior_gain", prior_gain, above=0.0)
        self.warm_start = warm_start
        self._state: dict[str, Float32] = {}
        self._table: _core.NatparTable | None = None

    def fit(self, log: TrainingLog, rng: np.random.Generator, progress: Progress = no_progress) -> None:
        """Learn item factors by `Ials` on the log, whiten them, and start the prior by empirical Bayes.

        With ``warm_start`` a fitted or restored head continues from its item factors and keeps its whitening
        and prior means, so that the basis of ψ stays what they refer to; items beyond its table start at 0.
        The rest of what was learned from episodes (untied tables, variances, age weights) starts anew. Items
        without an event get ψ = 0. The same log and seed give the same bytes for any number of threads.
        """
        old = self._state if self.warm_start else {}
        start = padded_rows(old["item_factors"], log.n_items) if old else None
        _, factors = self.training.train(log, rng, progress, start)
        popularity = smoothed_popularity(log, self.popularity_smoothing)
        if old:
            whitening = Whitening(old["whitening_center"], old["whitening_transform"])
        else:
            whitening = Whitening.fitted(factors, popularity, self.whitening_floor)
        psi = whitening.apply(factors)
        psi[np.bincount(log.histories.items, minlength=log.n_items) == 0] = 0.0
        width = psi.shape[1]
        self._state = {
            "item_factors": factors,
            "whitening_center": whitening.center,
            "whitening_transform": whitening.transform,
            "psi_in": psi,
            "kappa_edges": KAPPA_EDGES,
            "prior_mean": old.get("prior_mean", np.zeros((1, width), np.float32)),
            "age_weights": np.ones(1, np.float32),
        }
        self._keep_table()
        variance = empirical_bayes_variance(self.user_state(log.histories), log.histories)
        variance = self.prior_scale * np.clip(variance, LEAST_VARIANCE, MOST_VARIANCE) ** self.prior_gain
        self._state["prior_variance"] = np.tile(variance.astype(np.float32), (len(KAPPA_EDGES) + 1, 1))

    def item_matrix(self) -> Float32:
        """f32[n, m], ψ_out, or ψ where the tables are tied."""
        state = self._fitted()
        return state.get("psi_out", state["psi_in"])

    def query(self, histories: Histories, memberships: Memberships | None = None) -> Float32:
        """f32[b, m], ŵ of each history; raises `ArgumentError` for items outside the catalogue.

        Exactly 0 for an empty history where the prior mean is 0.
        """
        return self.query_state(self.user_state(histories), memberships)

    def user_state(self, histories: Histories) -> UserState:
        """The sums of each history, its events weighed by age."""
        state = self._fitted()
        weights = aged_weights(histories, state["age_weights"])
        assert self._table is not None
        with native_errors():
            return UserState(*self._table.state(histories.offsets, histories.items, weights))

    def query_state(self, user: UserState, memberships: Memberships | None = None) -> Float32:
        """f32[b, m], ŵ of each state."""
        state = self._fitted()
        mean = mean_of_members(state["prior_mean"], memberships, len(user))
        with native_errors():
            return _core.natpar_query(user.r, user.kappa, state["prior_variance"], state["kappa_edges"], mean)

    def observe(self, user: UserState, events: Histories) -> UserState:
        """The state after further events, row by row; equal to the bit to summing everything at once.

        Raises `ArgumentError` where the head weighs events by age: then older events change their weight with
        every new one, and `user_state` of the whole history is the way.
        """
        return user + self._unaged(events)

    def forget(self, user: UserState, events: Histories) -> UserState:
        """The state as if the events had never been added, to the bit. Raises as `observe` does."""
        return user - self._unaged(events)

    def state(self) -> State:
        """Named arrays:

        - ``item_factors`` f32[n, m], ``whitening_center`` f32[m], ``whitening_transform`` f32[m, m]
        - ``psi_in`` f32[n, m] for the history; ``psi_out`` f32[n, m] for the ranked item where it differs
        - ``prior_variance`` f32[bins, m], s ≥ 0; ``kappa_edges`` f32[bins - 1], ascending: a user is in the
          bin of the number of edges that are ≤ κ
        - ``prior_mean`` f32[C + 1, m], a row a task, the parent last
        - ``age_weights`` f32[ages] ≥ 0: factor of ω by place from the end of the history; the last goes on
        """
        return dict(self._fitted())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave. A fitted head takes a part as well and keeps the rest; ``psi_in``
        without ``psi_out`` ties the tables again.

        Raises `ArtefactError` for arrays that are missing, don't fit together or are out of range.
        """
        kept = {
            name: array for name, array in self._state.items() if name != "psi_out" or "psi_in" not in state
        }
        merged = {**kept, **state}
        psi = restored("Natpar", merged, "psi_in", (None, None))
        n, m = psi.shape
        edges = restored("Natpar", merged, "kappa_edges", (None,))
        shapes: dict[str, tuple[int | None, ...]] = {
            "item_factors": (n, m),
            "whitening_center": (m,),
            "whitening_transform": (m, m),
            "prior_variance": (len(edges) + 1, m),
            "prior_mean": (None, m),
            "age_weights": (None,),
        }
        if "psi_out" in merged:
            shapes["psi_out"] = (n, m)
        taken = {name: restored("Natpar", merged, name, shape) for name, shape in shapes.items()}
        for name in ("prior_variance", "age_weights"):
            if (taken[name] < 0).any():
                raise ArtefactError(f"Natpar: {name} holds {taken[name].min()}, expected at least 0")
        for name in ("prior_mean", "age_weights"):
            if len(taken[name]) == 0:
                raise ArtefactError(f"Natpar: {name} is empty, expected at least one row")
        if (np.diff(edges) < 0).any():
            raise ArtefactError(f"Natpar: kappa_edges is {edges.tolist()}, expected ascending numbers")
        self._state = {**taken, "psi_in": psi, "kappa_edges": edges}
        self._keep_table()

    def _unaged(self, events: Histories) -> UserState:
        if (self._fitted()["age_weights"] != 1.0).any():
            raise ArgumentError(
                "this head weighs events by age, so its state can't be added to; call user_state on the "
                "whole history"
            )
        return self.user_state(events)

    def _keep_table(self) -> None:
        """Check ψ once rather than for every user."""
        with native_errors():
            self._table = _core.NatparTable(self._state["psi_in"])

    def _fitted(self) -> dict[str, Float32]:
        if not self._state:
            raise NotFittedError("Natpar isn't fitted; call fit(log, rng) or restore(state) first")
        return self._state
