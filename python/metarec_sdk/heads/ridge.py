"""``ridge``: a user's vector as weighted least squares with implicit negatives on item factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk import _core
from metarec_sdk.errors import ArtefactError, NotFittedError
from metarec_sdk.heads.age import aged_weights
from metarec_sdk.heads.ials import Ials, padded_rows
from metarec_sdk.heads.native_errors import native_errors
from metarec_sdk.heads.parameters import number, restored
from metarec_sdk.heads.prior import mean_of_members
from metarec_sdk.types import Float32, Histories, Memberships, Progress, State, TrainingLog, no_progress


class Ridge:
    """``(α₀ΦᵀΦ + Φ_SᵀΩΦ_S + Λ) w = Φ_SᵀΩ1 + Λμ`` for each user, items ranked by ``w · φ_i``.

    The shared part is decomposed once; a user then costs one Cholesky factorisation of side k where
    k ≤ 0.9 m (the dual) and m otherwise, and users of like k are factorised sixteen at a time. A user's
    vector is the same to the bit in every batch. Λ starts at the regularisation that iALS uses for a user
    with few events, so the head starts as the fold-in of iALS; Λ, α₀, μ and the age weights can be learned
    further from episodes.
    """

    def __init__(
        self,
        *,
        factors: int = 64,
        iterations: int = 12,
        regularization: float | None = None,
        unobserved_weight: float | None = None,
        exponent: float = 1.0,
        prior_scale: float = 1.0,
        warm_start: bool = False,
    ) -> None:
        self.training = Ials(
            factors=factors,
            iterations=iterations,
            regularization=regularization,
            unobserved_weight=unobserved_weight,
            exponent=exponent,
        )
        self.prior_scale = number("prior_scale", prior_scale, above=0.0)
        self.warm_start = warm_start
        self._state: dict[str, Float32] = {}
        self._solver: _core.FactorSolver | None = None

    def fit(self, log: TrainingLog, rng: np.random.Generator, progress: Progress = no_progress) -> None:
        """Learn item factors by `Ials` on the log.

        With ``warm_start`` a fitted or restored head continues from its item factors and keeps its prior
        means; items beyond its table start at 0. The same log and seed give the same bytes for any number of
        threads.
        """
        old = self._state if self.warm_start else {}
        start = padded_rows(old["item_factors"], log.n_items) if old else None
        _, factors = self.training.train(log, rng, progress, start)
        settings = self.training.for_catalogue(log.n_items)
        mass = TYPICAL_EVENTS + settings.unobserved_weight * log.n_items
        precision = settings.regularization * mass**settings.exponent / self.prior_scale
        width = factors.shape[1]
        self.restore(
            {
                "item_factors": factors,
                "precision": np.full(width, precision, np.float32),
                "unobserved_weight": np.array([settings.unobserved_weight], np.float32),
                "prior_mean": old.get("prior_mean", np.zeros((1, width), np.float32)),
                "age_weights": np.ones(1, np.float32),
            }
        )

    def item_matrix(self) -> Float32:
        """f32[n, m], Φ."""
        return self._fitted()["item_factors"]

    def query(self, histories: Histories, memberships: Memberships | None = None) -> Float32:
        """f32[b, m], w of each history; raises `ArgumentError` for items outside the catalogue.

        Exactly 0 for an empty history where the prior mean is 0; with a mean, an empty history gets what the
        implicit negatives leave of it, ``(α₀ΦᵀΦ + Λ)⁻¹ Λμ``.
        """
        state = self._fitted()
        if self._solver is None:
            with native_errors():
                self._solver = _core.FactorSolver(
                    state["item_factors"],
                    state["precision"],
                    unobserved_weight=float(state["unobserved_weight"][0]),
                )
        mean = mean_of_members(state["prior_mean"], memberships, len(histories))
        weights = aged_weights(histories, state["age_weights"])
        with native_errors():
            return self._solver.solve(histories.offsets, histories.items, weights, None, mean)

    def state(self) -> State:
        """Named arrays:

        - ``item_factors`` f32[n, m], Φ; ``precision`` f32[m] > 0, the diagonal of Λ
        - ``unobserved_weight`` f32[1] ≥ 0, α₀
        - ``prior_mean`` f32[C + 1, m], a row a task, the parent last
        - ``age_weights`` f32[ages] ≥ 0: factor of ω by place from the end of the history; the last goes on
        """
        return dict(self._fitted())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave. A fitted head takes a part as well and keeps the rest.

        Raises `ArtefactError` for arrays that are missing, don't fit together or are out of range.
        """
        merged = {**self._state, **state}
        factors = restored("Ridge", merged, "item_factors", (None, None))
        width = factors.shape[1]
        shapes: dict[str, tuple[int | None, ...]] = {
            "precision": (width,),
            "unobserved_weight": (1,),
            "prior_mean": (None, width),
            "age_weights": (None,),
        }
        taken = {name: restored("Ridge", merged, name, shape) for name, shape in shapes.items()}
        if (taken["precision"] <= 0).any():
            raise ArtefactError(
                f"Ridge: precision holds {taken['precision'].min()}, expected numbers above 0"
            )
        for name in ("unobserved_weight", "age_weights"):
            if (taken[name] < 0).any():
                raise ArtefactError(f"Ridge: {name} holds {taken[name].min()}, expected at least 0")
        for name in ("prior_mean", "age_weights"):
            if len(taken[name]) == 0:
                raise ArtefactError(f"Ridge: {name} is empty, expected at least one row")
        self._state = {"item_factors": factors, **taken}
        self._solver = None

    def _fitted(self) -> dict[str, Float32]:
        if not self._state:
            raise NotFittedError("Ridge isn't fitted; call fit(log, rng) or restore(state) first")
        return self._state


TYPICAL_EVENTS = 5.0
"""Events of the user that Λ starts for; beside α₀ n it hardly matters."""
