"""Users of a fitted recommender in two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.recommender import Recommender

_MOST = 3_000


def task_points(recommender: Recommender) -> tuple[NDArray[Any], NDArray[Any]]:
    """(f[u, 2], i[u]): the first two principal components of the users' vectors in the head's space, and the
    task of each; the first 3,000 users."""
    vectors, tasks = recommender.user_vectors(recommender.users[:_MOST])
    centred = vectors - vectors.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return centred @ axes[:2].T, tasks
