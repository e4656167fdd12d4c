"""Matching the tasks of a nightly refit to the old ones, so that ids and adapters persist.

Both functions solve the assignment problem exactly (Kuhn 1955, "The Hungarian method"; here
scipy's ``linear_sum_assignment``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError
from metarec_sdk.types import Float32, Int32


def match_tasks(old_centres: Float32, new_centres: Float32, *, max_distance: float = np.inf) -> Int32:
    """i32[C_new], the old task of each new one, by the least total distance; -1 for a task that is new.

    old_centres f32[C_old, p] and new_centres f32[C_new, p] have to lie in one space; where the space was
    learned anew, use `match_members`. max_distance: a pair further apart than this is not a match.
    Raises `ArgumentError` for centres of different widths.
    """
    if old_centres.ndim != 2 or new_centres.ndim != 2 or old_centres.shape[1] != new_centres.shape[1]:
        raise ArgumentError(
            f"centres must be f32[C, p] of one width, got {old_centres.shape} and {new_centres.shape}"
        )
    apart = np.linalg.norm(new_centres[:, None].astype(np.float64) - old_centres[None], axis=2)
    return _assigned(apart, apart <= max_distance)


def match_members(old: Int32, new: Int32, *, n_old: int, n_new: int) -> Int32:
    """i32[n_new], the old task of each new one, by the most users in common; -1 for a task that is new.

    old, new: i32[u], the tasks of the same users before and after, -1 for none; works when the features
    were learned anew, because it compares people and not coordinates.
    """
    if len(old) != len(new):
        raise ArgumentError(f"old and new must hold the same users, got {len(old)} and {len(new)} rows")
    shared = np.zeros((n_new, n_old))
    both = (np.asarray(old) >= 0) & (np.asarray(new) >= 0)
    np.add.at(shared, (np.asarray(new)[both], np.asarray(old)[both]), 1)
    return _assigned(-shared, shared > 0)


def _assigned(cost: NDArray[Any], allowed: NDArray[np.bool_]) -> Int32:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cost)
    matched = np.full(len(cost), -1, np.int32)
    matched[rows] = np.where(allowed[rows, columns], columns, -1)
    return matched
