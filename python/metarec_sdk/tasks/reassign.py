"""Reassignment of users to the task under which their support is most likely.

After a first clustering, two or three rounds of "learn the tasks, move the users" sharpen the tasks
(IFCA, Ghosh et al., NeurIPS 2020). Only the likelihood of the *support* may be used: with the query a user
would choose its task by the answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, DataError
from metarec_sdk.types import Int32, Memberships


def _checked(log_likelihood: NDArray[Any], rows: int | None) -> NDArray[np.float64]:
    values = np.asarray(log_likelihood, np.float64)
    if values.ndim != 2 or (rows is not None and len(values) != rows):
        raise ArgumentError(
            f"log_likelihood must be f[u, C], one row for each of {rows} users; got {values.shape}"
        )
    if not np.isfinite(values).all():
        raise DataError("log_likelihood holds a value that isn't finite")
    return values


def reassign(
    log_likelihood: NDArray[Any], assigned: Int32, *, margin: float = 0.0, min_size: int = 50
) -> Int32:
    """i32[u], one round: each user moves to its most likely task, tasks below min_size dissolve into -1.

    log_likelihood: f[u, C], nats, of each user's support under each task (0 for an empty support).
    assigned: i32[u], the tasks so far. margin: nats that a move has to gain (hysteresis); a user at -1
    has nothing to lose and moves freely, unless its support says nothing.
    """
    values = _checked(log_likelihood, len(assigned))
    n_tasks = values.shape[1]
    if not n_tasks:
        return np.full(len(assigned), -1, np.int32)
    best = values.argmax(1).astype(np.int32)
    rows = np.arange(len(values))
    here = values[rows, np.maximum(assigned, 0)]
    silent = np.ptp(values, axis=1) == 0
    stays = silent | ((assigned >= 0) & (values[rows, best] - here <= margin))
    moved = np.where(stays, assigned, best).astype(np.int32)
    sizes = np.bincount(moved[moved >= 0], minlength=n_tasks)
    small = np.append(sizes < min_size, True)  # the last entry is reached as -1
    return np.where(small[moved], -1, moved).astype(np.int32)


def memberships_from_likelihood(log_likelihood: NDArray[Any], log_prior: NDArray[Any]) -> Memberships:
    """Soft top-2 membership ``π_uc ∝ exp(log_prior_c + log p(support_u | c))``.

    log_likelihood: f[u, C] nats; log_prior: f[C] nats. With one task the second place is the parent with
    weight 0.
    """
    values = _checked(log_likelihood, None) + np.asarray(log_prior, np.float64)
    if not values.shape[1]:
        return Memberships.parent(len(values))
    best = np.argsort(-values, axis=1, kind="stable")[:, :2]
    top = np.take_along_axis(values, best, 1)
    weights = np.exp(top - top[:, :1])
    weights /= weights.sum(1, keepdims=True)
    result = Memberships.parent(len(values))
    result.tasks[:, : best.shape[1]] = best
    result.weights[:, : best.shape[1]] = weights
    return result
