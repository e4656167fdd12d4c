"""Priors of user vectors: empirical Bayes, and the mean that a soft membership implies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError
from metarec_sdk.heads.user_state import UserState
from metarec_sdk.types import Float32, Histories, Memberships

KAPPA_EDGES = np.array([1.5, 2.5, 4.0, 6.0, 8.5, 15.0, 30.0], np.float32)
"""Between the bins of κ: about 1, 2, 3, 5, 7, 10, 20 events and more."""


def empirical_bayes_variance(state: UserState, histories: Histories) -> NDArray[np.float64]:
    """``s_q = Σ_u n_u (r̄²_uq − 1/n_u) / Σ_u n_u``, f64[m], not below 0 (method of moments).

    n_u = κ_u, and 1/n_u, the noise of a mean of n_u events, is ``Σω²/κ²`` for events of unequal weight.
    """
    users = np.repeat(np.arange(len(histories)), histories.lengths)
    squares = np.bincount(users, histories.weights.astype(np.float64) ** 2, len(histories))
    known = state.kappa > 0
    kappa, r = state.kappa[known], state.r[known]
    if len(kappa) == 0:
        return np.zeros(state.r.shape[1])
    excess = r**2 / kappa[:, None] - (squares[known] / kappa)[:, None]  # [u, m], n (r̄² − noise)
    variance: NDArray[np.float64] = np.maximum(excess.sum(axis=0) / kappa.sum(), 0.0)
    return variance


def mean_of_members(prior_mean: Float32, memberships: Memberships | None, b: int) -> Float32 | None:
    """μ f32[b, m] mixed from the rows of prior_mean f32[C + 1, m], whose last row is the parent.

    None stands for 0. Without memberships, and for tasks newer than the head, it is the parent's row.
    """
    if not prior_mean.any():
        return None
    if memberships is None:
        memberships = Memberships.parent(b)
    if len(memberships) != b:
        raise ArgumentError(f"memberships has {len(memberships)} rows for {b} histories")
    if (memberships.tasks < -1).any():
        raise ArgumentError(f"memberships names task {memberships.tasks.min()}; -1 is the parent")
    parent = len(prior_mean) - 1
    rows = np.where((memberships.tasks < 0) | (memberships.tasks >= parent), parent, memberships.tasks)
    mean = np.zeros((b, prior_mean.shape[1]), np.float32)
    for column in range(rows.shape[1]):
        mean += memberships.weights[:, column, None] * prior_mean[rows[:, column]]
    return mean
