"""Implicit alternating least squares: the item factors under the heads and the ``factors`` backbone.

Hu, Koren & Volinsky (2008), with the frequency-scaled regularisation of Rendle, Krichene, Zhang & Koren,
"Revisiting the performance of iALS on item recommendation benchmarks" (2021):

``L = Σ_(u,i) ω (1 − w_u·φ_i)² + α₀ Σ_u Σ_i (w_u·φ_i)²
+ λ (Σ_u (Σω_u + α₀ n)^ν ‖w_u‖² + Σ_i (Σω_i + α₀ u)^ν ‖φ_i‖²)``
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metarec_sdk import _core
from metarec_sdk.errors import ArgumentError
from metarec_sdk.heads.native_errors import native_errors
from metarec_sdk.heads.parameters import number, whole
from metarec_sdk.types import Float32, Progress, TrainingLog, no_progress

MOST_FACTORS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Ials:
    """What to train; every field can be given as JSON."""

    factors: int = 64
    """m, 1 to 1024."""
    iterations: int = 12
    """Rounds of one user step and one item step."""
    regularization: float | None = None
    """λ > 0; None is `for_catalogue`'s."""
    unobserved_weight: float | None = None
    """α₀ ≥ 0, the weight of every pair of a user and an item, observed or not; an event adds its ω. None is
    `for_catalogue`'s."""
    exponent: float = 1.0
    """ν ≥ 0: 1 regularises in proportion to the data of a row, 0 all rows alike."""
    conjugate_gradient_steps: int = 3
    """Steps for a row with many events, from its last vector (Takács, Pilászy & Tikk 2011): after a few
    rounds the objective is the same as with exact steps, sooner. 0 solves every row exactly."""

    def __post_init__(self) -> None:
        whole("factors", self.factors, 1, MOST_FACTORS)
        whole("iterations", self.iterations, 1, 10_000)
        if self.regularization is not None:
            number("regularization", self.regularization, above=0.0)
        if self.unobserved_weight is not None:
            number("unobserved_weight", self.unobserved_weight, least=0.0)
        number("exponent", self.exponent, least=0.0)
        whole("conjugate_gradient_steps", self.conjugate_gradient_steps, 0, 1000)

    def initial_item_factors(self, n_items: int, rng: np.random.Generator) -> Float32:
        """f32[n, m], normal with standard deviation 0.1/√m."""
        deviation = np.float32(0.1 / np.sqrt(self.factors))
        table: Float32 = rng.standard_normal((n_items, self.factors), np.float32) * deviation
        return table

    def for_catalogue(self, n_items: int) -> FixedIals:
        """These settings with a number for each None.

        α₀ is 0.1, but not so small that all items together weigh less than 30 events; λ then is such that
        ``λ (α₀ n)^ν``, the pull on a user with few events, is 6 in a large catalogue and less in one of a few
        hundred items. Chosen on the first 1 to 20 events of held-out users of eight public logs with 110 to
        20,000 items, for which a fixed λ differs by a factor of 100.
        """
        alpha = max(0.1, 30.0 / max(n_items, 1)) if self.unobserved_weight is None else self.unobserved_weight
        pull = 6.0 * n_items / (n_items + 500.0)
        mass = max(alpha * n_items, 1.0) ** self.exponent
        regularization = max(pull, 0.01) / mass if self.regularization is None else self.regularization
        return FixedIals(
            factors=self.factors,
            iterations=self.iterations,
            regularization=regularization,
            unobserved_weight=alpha,
            exponent=self.exponent,
            conjugate_gradient_steps=self.conjugate_gradient_steps,
        )

    def solver(self, item_factors: Float32) -> _core.FactorSolver:
        """The step that turns histories into vectors against a fixed table f32[n, m]."""
        return self.for_catalogue(len(item_factors)).step(item_factors)

    def train(
        self,
        log: TrainingLog,
        rng: np.random.Generator,
        progress: Progress = no_progress,
        item_factors_init: Float32 | None = None,
    ) -> tuple[Float32, Float32]:
        """User factors f32[u, m] and item factors f32[n, m].

        Event weights are confidences ω ≥ 0; the target is always 1. ``item_factors_init`` (f32[n, m])
        continues from a table instead of a random one; the basis then stays close to it. The result depends
        on the seed only, not on the number of threads. Items without an event get the vector 0.

        Raises `ArgumentError` for an empty log or an ``item_factors_init`` of another shape.
        """
        histories, n_items = log.histories, log.n_items
        if len(histories.items) == 0:
            raise ArgumentError(
                "the training log has no events, so there is nothing to learn item factors from"
            )
        if item_factors_init is None:
            item_factors = self.initial_item_factors(n_items, rng)
        elif item_factors_init.shape != (n_items, self.factors):
            raise ArgumentError(
                f"item_factors_init has shape {item_factors_init.shape}, expected "
                f"({n_items}, {self.factors}), the number of items and factors"
            )
        else:
            item_factors = np.ascontiguousarray(item_factors_init, np.float32)
        by_user = histories.offsets, histories.items, histories.weights
        settings, steps = self.for_catalogue(n_items), self.conjugate_gradient_steps
        user_factors: Float32 = np.zeros((len(histories), self.factors), np.float32)
        with native_errors():
            by_item = _core.transpose(*by_user, n_items)
            for iteration in range(self.iterations):
                progress(iteration, self.iterations, "item factors")
                by_items = settings.step(item_factors)
                # No last vectors to go on from; a given table deserves better than steps from 0.
                if steps == 0 or (iteration == 0 and item_factors_init is not None):
                    user_factors = by_items.solve(*by_user)
                else:
                    user_factors = by_items.improve(*by_user, user_factors, steps)
                by_users = settings.step(user_factors)
                if steps == 0:
                    item_factors = by_users.solve(*by_item)
                else:
                    item_factors = by_users.improve(*by_item, item_factors, steps)
        progress(self.iterations, self.iterations, "item factors")
        return user_factors, item_factors


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedIals(Ials):
    """`Ials` with a number for every setting."""

    regularization: float = 0.003
    unobserved_weight: float = 0.1

    def step(self, factors: Float32) -> _core.FactorSolver:
        """One side's step against the other side's factors, f32[n, m] or f32[u, m]."""
        precision = np.full(factors.shape[1], self.regularization, np.float32)
        with native_errors():
            return _core.FactorSolver(
                factors, precision, unobserved_weight=self.unobserved_weight, exponent=self.exponent
            )


def padded_rows(table: Float32, n_items: int) -> Float32:
    """The table with rows of 0 for the items beyond it; a catalogue may grow but not shrink."""
    if len(table) > n_items:
        raise ArgumentError(
            f"the warm start has {len(table)} items but the log has a catalogue of {n_items}; keep the item "
            "indices of the earlier fit"
        )
    return np.concatenate([table, np.zeros((n_items - len(table), table.shape[1]), np.float32)])
