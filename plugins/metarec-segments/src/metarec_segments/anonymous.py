"""Segments that no fewer than k users share.

The guarantee, over the users (rows) that `fit` was given last:

1. each task that `assign` can return was assigned to at least k of them;
2. what `state` holds of a task is a mean over at least k of them, and nothing is held where there are fewer
   than k users in all: then everybody is at the parent;
3. membership is hard, because a pair of graded weights can be as good as a name.

It is k-anonymity of the published task id (Samarati & Sweeney 1998; cohorts of at least k users as in
"Evaluation of Cohort Algorithms for the FLoC API", Google 2020), not differential privacy: members of a task
are alike in what formed it (Machanavajjhala et al., ℓ-diversity, 2007), and the tasks of several fits
together can tell a user apart from the others of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, NotFittedError
from metarec_sdk.types import Float32, Float64, Int32, Memberships, State
from metarec_segments.features import at_least_one, checked, restored, scales, standardised

_NAMES = ("mean", "scale", "centres")


class AnonymousSegments:
    """k-means clusters, of which the smallest is dissolved into its neighbours until each has k users.

    Suppression is all or nothing: a remnant of fewer than k users without a task would be a small group too.
    """

    column: str | None = None

    def __init__(self, *, n_tasks: int = 8, k: int = 50, restarts: int = 4, iterations: int = 100) -> None:
        """n_tasks: clusters to start from; at most that many come back.

        k: users that share a task at least. restarts: k-means++ starts, the best inertia wins. iterations:
        of k-means, at most.

        Raises `ArgumentError` for a number below 1.
        """
        given = {"n_tasks": n_tasks, "k": k, "restarts": restarts, "iterations": iterations}
        for name, value in given.items():
            if value < 1:
                raise ArgumentError(f"{name} must be ≥ 1, got {value}")
        self.requested = n_tasks
        self.k = k
        self.restarts = restarts
        self.iterations = iterations
        self._state: State = {}

    @property
    def n_tasks(self) -> int:
        """C, 0 where there were fewer than k users."""
        return len(self._fitted()["centres"])

    def fit(self, x: Float32, rng: np.random.Generator) -> None:
        """Form the segments of x f32[u, p], u ≥ 1, one row a user. The same rng gives the same segments.

        Raises `ArgumentError` for another shape, `DataError` for a value that isn't finite.
        """
        features = at_least_one(checked(x))
        p = features.shape[1]
        if len(features) < self.k:  # mean and scale would be figures of fewer than k users, too
            nothing = {"mean": np.zeros(p, np.float32), "scale": np.ones(p, np.float32)}
            self._state = {**nothing, "centres": np.zeros((0, p), np.float32)}
            return
        learned = scales(features)
        standard = standardised(features, learned)
        centres = self._clusters(standard, int(rng.integers(2**31 - 1)))
        self._state = {**learned, "centres": _shared_by(self.k, standard, centres)}

    def assign(self, x: Float32) -> Int32:
        """i32[u], the segment with the nearest centre of each row of x f32[u, p]; -1 where there is none.

        The answer for a row doesn't depend on the rows beside it.
        """
        state = self._fitted()
        return _nearest(standardised(checked(x, len(state["mean"])), state), state["centres"])

    def memberships(self, x: Float32) -> Memberships:
        """Weight 1 on the segment of each row of x f32[u, p]."""
        memberships = Memberships.parent(len(x))
        memberships.tasks[:, 0] = self.assign(x)
        return memberships

    def state(self) -> State:
        """``mean`` and ``scale`` f32[p] of the features, ``centres`` f32[C, p], largest segment first."""
        return dict(self._fitted())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` where an array is missing."""
        self._state = restored("segments/k-anonymous", state, _NAMES)

    def _clusters(self, standard: Float64, seed: int) -> Float32:
        """f32[K, p], centres of k-means; K is smaller where there are fewer distinct users."""
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits

        largest = min(self.requested, len(standard) // self.k)  # more can't have k users each
        model = KMeans(
            n_clusters=min(largest, len(np.unique(standard, axis=0))),
            init="k-means++",
            n_init=self.restarts,
            max_iter=self.iterations,
            random_state=seed,
        )
        with threadpool_limits(limits=1):  # one thread: the same bytes everywhere
            return np.asarray(model.fit(standard).cluster_centers_, np.float32)

    def _fitted(self) -> State:
        if not self._state:
            raise NotFittedError(
                "segments/k-anonymous isn't fitted; call fit(x, rng) or restore(state) first"
            )
        return self._state


def _shared_by(k: int, standard: Float64, centres: Float32) -> Float32:
    """f32[C, p], centres that are means of at least k users and nearest to at least k of them; u ≥ k."""
    while True:
        sizes = _sizes(standard, centres)
        while sizes.min() < k:
            centres = np.delete(centres, sizes.argmin(), axis=0)
            sizes = _sizes(standard, centres)
        # A centre may still be the mean of its few users before others joined them.
        nearest = _nearest(standard, centres)
        centres = np.stack([standard[nearest == task].mean(0) for task in range(len(centres))]).astype(
            np.float32
        )
        # Sorted before they are counted: the order decides between equally near centres.
        centres = centres[np.argsort(-_sizes(standard, centres), kind="stable")]
        if _sizes(standard, centres).min() >= k:
            return np.ascontiguousarray(centres)


def _sizes(standard: Float64, centres: Float32) -> NDArray[np.int64]:
    return np.bincount(_nearest(standard, centres), minlength=len(centres))


def _nearest(standard: Float64, centres: Float32) -> Int32:
    """i32[u], the nearest centre, the first of equals; -1 where there are none.

    Row by row sums rather than a matrix product, whose last bits depend on the batch: a user at the border
    must not change sides with it, or the count of the fit wouldn't hold.
    """
    best = np.full(len(standard), np.inf)
    nearest = np.full(len(standard), -1, np.int32)
    for task, centre in enumerate(centres.astype(np.float64)):
        squared = np.square(standard - centre).sum(axis=1)  # [u]
        closer = squared < best
        best[closer], nearest[closer] = squared[closer], task
    return nearest
