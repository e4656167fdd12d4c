"""EASE with fold-in of the support (Steck, WWW 2019)."""

from __future__ import annotations

import numpy as np

from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.baselines.baseline import Contestant, Situation
from metarec_sdk.evaluation.baselines.boosted import BoostedPopularity
from metarec_sdk.types import Float64, Histories, TopK, TrainingLog

MOST_ITEMS = 20_000
"""Above it the dense inverse (8 n² bytes, 3.2 GB at the bound, and n³ time) is refused."""

_BLOCK = 512
"""Rows that are mirrored at a time."""


class Ease:
    """Ranks by ``Σ_j∈S B_ji``, B the closed-form item-item regression with zero diagonal.

    ``P = (XᵀX + λI)⁻¹``, ``B_ji = −P_ji / P_ii``, 0 on the diagonal (Steck 2019, eq. 8).
    """

    def __init__(self, *, regularization: float) -> None:
        self.regularization = regularization

    def fit(self, log: TrainingLog, rng: np.random.Generator) -> None:
        """Invert the Gram matrix.

        Raises:
            ArgumentError: more than `MOST_ITEMS` items.
        """
        reason = _too_many(Situation(log.n_items, True))
        if reason:
            raise ArgumentError(reason)
        inverse = _inverse(_gram(log.histories, log.n_items), self.regularization)
        weights = inverse / -np.diag(inverse)  # [j, i]
        np.fill_diagonal(weights, 0.0)
        self._weights = weights.astype(np.float32)
        self._ranking = BoostedPopularity(log)

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k items that the regression predicts most strongly from the history."""
        return self._ranking.rank_dense(histories, k, self._weights)


def _gram(histories: Histories, n_items: int) -> Float64:
    from scipy.sparse import csr_matrix

    shape = (len(histories), n_items)
    visits = csr_matrix((np.ones(len(histories.items)), histories.items, histories.offsets), shape)
    gram: Float64 = (visits.T @ visits).toarray()
    return gram


def _inverse(gram: Float64, regularization: float) -> Float64:
    """``(gram + λI)⁻¹`` by Cholesky, in place of the Gram matrix."""
    from scipy.linalg import lapack

    gram[np.diag_indices_from(gram)] += regularization
    # The transpose of a symmetric C matrix is itself in Fortran order: LAPACK works on it without a copy.
    factor, info = lapack.dpotrf(gram.T, lower=1, overwrite_a=1)
    if info == 0:
        factor, info = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if info != 0:
        raise ArgumentError(f"regularization={regularization} is too small for a positive definite matrix")
    inverse: Float64 = factor.T  # the upper triangle is filled
    for start in range(0, len(inverse), _BLOCK):
        stop = start + _BLOCK
        inverse[start:stop, :start] = inverse[:start, start:stop].T
        corner = inverse[start:stop, start:stop]
        corner[:] = np.triu(corner) + np.triu(corner, 1).T
    return inverse


def _too_many(situation: Situation) -> str | None:
    if situation.n_items <= MOST_ITEMS:
        return None
    gigabytes = 8 * situation.n_items**2 / 1e9
    return (
        f"{situation.n_items} items need a dense inverse of {gigabytes:.1f} GB; "
        f"the bound is {MOST_ITEMS} items"
    )


EASE = Contestant(
    "ease",
    Ease,
    tuple({"regularization": value} for value in (500.0, 2000.0, 200.0, 10_000.0, 1000.0, 100.0)),
    refusal=_too_many,
)
