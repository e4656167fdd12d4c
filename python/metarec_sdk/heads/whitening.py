"""From item factors to the table ψ in which the softmax likelihood of a user is isotropic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarec_sdk import _core
from metarec_sdk.types import Float32, TrainingLog


@dataclass(frozen=True, slots=True)
class Whitening:
    """``ψ_i = T (φ_i − φ̄)`` with ``T = D^{-1/2} Vᵀ`` and ``G = Σ p_i (φ_i − φ̄)(φ_i − φ̄)ᵀ = V D Vᵀ``.

    Under p the table has mean 0 and covariance I, so the Hessian of the softmax log-likelihood at w = 0 is
    ``−κ I``. Dimension 0 belongs to the largest eigenvalue.
    """

    center: Float32
    """f32[m], φ̄."""
    transform: Float32
    """f32[m, m], T."""

    @classmethod
    def fitted(cls, factors: Float32, popularity: NDArray[np.float64], floor: float) -> Whitening:
        """Whiten factors f32[n, m] under popularity p f64[n] that sums to 1.

        Eigenvalues below ``floor`` times the largest are raised to it, so that directions without signal
        aren't blown up; directions without any variance become 0.
        """
        center = np.sum(popularity[:, None] * factors, axis=0)  # [m]
        scaled = np.sqrt(popularity)[:, None] * (factors - center)  # [n, m]
        values, vectors = _core.symmetric_eigen(_core.gram(scaled.astype(np.float32)))
        values, vectors = values[::-1], vectors[:, ::-1]
        raised = np.maximum(values, floor * max(values[0], 0.0))
        inverse_root = np.zeros_like(values)
        np.divide(
            1.0, np.sqrt(raised, where=raised > 0, out=np.ones_like(raised)), inverse_root, where=raised > 0
        )
        return cls(center.astype(np.float32), (inverse_root[:, None] * vectors.T).astype(np.float32))

    def apply(self, factors: Float32) -> Float32:
        """ψ f32[n, m] of factors f32[n, m]."""
        centred = factors.astype(np.float64) - self.center
        # Not BLAS, whose sums may depend on its number of threads.
        rotated: NDArray[np.float64] = np.einsum("nm,qm->nq", centred, self.transform.astype(np.float64))
        return rotated.astype(np.float32)


def smoothed_popularity(log: TrainingLog, smoothing: float) -> NDArray[np.float64]:
    """p f64[n]: each item's share of the event weights after adding ``smoothing`` to every item."""
    events = np.bincount(log.histories.items, log.histories.weights, log.n_items) + smoothing
    total = events.sum()
    return events / total if total > 0 else np.full(log.n_items, 1.0 / log.n_items)
