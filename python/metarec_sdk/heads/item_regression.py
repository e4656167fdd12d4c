"""The closed-form item-item regression EASE (Steck, "Embarrassingly shallow autoencoders", WWW 2019)."""

from __future__ import annotations

import numpy as np

from metarec_sdk.errors import ArgumentError
from metarec_sdk.heads.mixture import visits_of
from metarec_sdk.protocols import Boosts
from metarec_sdk.types import Float32, Float64, Histories

_BLOCK = 512
"""Rows that are worked on at a time."""


def regression_weights(
    histories: Histories, n_items: int, regularization: float, alike: Float32 | None = None
) -> Float32:
    """B f32[n, n], row j what a visit to j says for each item: ``P = (XᵀX + λI)⁻¹``, ``B_ji = −P_ji / P_ii``,
    0 on the diagonal (eq. 8), X the 0/1 matrix of who visited what. 8 n² bytes and n³ time.

    ``alike`` f32[n, c] are vectors of the items whose inner products, where positive, are added to XᵀX: so
    many more people with both items (the collective form of Jeunen et al., "Closed-form models for
    collaborative filtering with side-information", RecSys 2020).

    Raises `ArgumentError` for a λ that is too small for a positive definite matrix.
    """
    visits = visits_of(histories, n_items).copy()  # sorting its rows in place would sort the histories
    visits.sum_duplicates()
    visits.data[:] = 1.0
    gram = (visits.T @ visits).toarray()
    if alike is not None:
        for start in range(0, n_items, _BLOCK):
            rows = slice(start, start + _BLOCK)
            gram[rows] += np.maximum(alike[rows] @ alike.T, 0.0)
    inverse = _inverse(gram, regularization)
    weights = np.empty(inverse.shape, np.float32)
    scale = -np.diag(inverse)
    for start in range(0, n_items, _BLOCK):
        weights[start : start + _BLOCK] = inverse[start : start + _BLOCK] / scale
    np.fill_diagonal(weights, 0.0)
    return weights


def regression_table(
    histories: Histories, n_items: int, regularization: float, most: int, alike: Float32 | None = None
) -> Boosts:
    """The ``most`` largest positive weights of each row of B as CSR, items ascending."""
    weights = regression_weights(histories, n_items, regularization, alike)
    most = min(most, n_items)
    lengths, items, values = [np.zeros(1, np.int64)], [], []
    for start in range(0, n_items, _BLOCK):
        block = weights[start : start + _BLOCK]
        if most < n_items:
            least = np.partition(block, -most, axis=1)[:, -most, None]
            kept = (block > 0.0) & (block >= least)
        else:
            kept = block > 0.0
        lengths.append(kept.sum(1))
        items.append(np.nonzero(kept)[1].astype(np.int32))
        values.append(block[kept])
    return np.cumsum(np.concatenate(lengths)), np.concatenate(items), np.concatenate(values)


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
