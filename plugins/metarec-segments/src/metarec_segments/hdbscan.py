"""Segments as dense regions of users; who is in none has no task.

Campello, Moulavi & Sander, PAKDD 2013, "Density-Based Clustering Based on Hierarchical Density Estimates";
fitted by scikit-learn, applied to other users here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, NotFittedError
from metarec_sdk.types import Float32, Float64, Int32, Memberships, State
from metarec_segments.features import at_least_one, checked, restored, scales, standardised

_NAMES = ("mean", "scale", "axes", "points", "core", "own", "task", "strength", "reach")
_BLOCK = 512  # users per block of distances
_ROUNDING = 1 + 1e-5
"""Distances that differ by less are equal: the state is rounded to f32."""


class DenseSegments:
    """Dense regions, largest first; noise is served by the parent.

    The distance of two users is their mutual reachability ``max(core_a, core_b, ‖a − b‖)``, where core is
    the distance to the ``min_samples``-th nearest user of the fit, oneself included. Another user joins the
    segment of the nearest member, if within the segment's reach: the largest distance that one of its members
    has to the nearest fellow. For the users of the fit that gives back HDBSCAN's own labels, noise included
    (ties apart), since within a hierarchy of single linkage a member's nearest fellow is a member, and noise
    is further from every member than the level at which the segment formed.

    Membership strength is that of scikit-learn (λ / λ_max of the segment) for the users of the fit; another
    user takes the strength s of that nearest member m, ``s · min(1, own_m / distance)``, own_m being m's
    distance to its nearest fellow. The rest of the weight is the parent's.
    """

    column: str | None = None

    def __init__(
        self, *, min_size: int = 50, min_samples: int = 10, dimensions: int = 5, most_users: int = 10_000
    ) -> None:
        """min_size: users of a segment at least. min_samples: users that make a neighbourhood dense.

        dimensions: principal components that the features are reduced to, since density says little in many
        dimensions; fewer where there are fewer features. most_users: users that the segments are formed from,
        a random sample where there are more (time grows with the square of it).

        Raises `ArgumentError` for a number out of range.
        """
        lowest = {"min_size": (min_size, 2), "min_samples": (min_samples, 1)}
        lowest |= {"dimensions": (dimensions, 1), "most_users": (most_users, 2)}
        for name, (value, low) in lowest.items():
            if value < low:
                raise ArgumentError(f"{name} must be ≥ {low}, got {value}")
        self.min_size = min_size
        self.min_samples = min_samples
        self.dimensions = dimensions
        self.most_users = most_users
        self._state: State = {}

    @property
    def n_tasks(self) -> int:
        """C, 0 where everybody is noise."""
        return len(self._fitted()["reach"])

    def fit(self, x: Float32, rng: np.random.Generator) -> None:
        """Form the segments of x f32[u, p], u ≥ 1. The same rng gives the same segments.

        Raises `ArgumentError` for another shape, `DataError` for a value that isn't finite.
        """
        features = at_least_one(checked(x))
        if len(features) > self.most_users:
            features = features[np.sort(rng.choice(len(features), self.most_users, replace=False))]
        learned = scales(features)
        axes = _principal_axes(standardised(features, learned), self.dimensions)
        # HDBSCAN sees the rounded points that are kept, so that distances are the same later.
        points = (standardised(features, learned) @ axes).astype(np.float32)
        labels, strength = self._clusters(points.astype(np.float64))
        sizes = np.bincount(labels[labels >= 0], minlength=labels.max(initial=-1) + 1)
        rank = np.argsort(np.argsort(-sizes, kind="stable"))
        task = np.append(rank, -1)[labels].astype(np.int32)  # label -1 takes the last entry
        core = self._core(points.astype(np.float64), points)
        own = np.zeros(len(points))
        reach = np.zeros(len(sizes), np.float32)
        for one in range(len(sizes)):
            members = np.flatnonzero(task == one)
            own[members] = _nearest_fellow(points[members].astype(np.float64), core[members])
            reach[one] = own[members].max()
        self._state = {
            **learned,
            "axes": axes.astype(np.float32),
            "points": points,
            "core": core.astype(np.float32),
            "own": own.astype(np.float32),
            "task": task,
            "strength": strength.astype(np.float32),
            "reach": reach,
        }

    def assign(self, x: Float32) -> Int32:
        """i32[u], the segment of each row of x f32[u, p]; -1 for noise."""
        return self._located(x)[0]

    def memberships(self, x: Float32) -> Memberships:
        """The segment of each row of x f32[u, p] by its strength, and the parent for the rest."""
        task, strength = self._located(x)
        memberships = Memberships.parent(len(task))
        memberships.tasks[:, 0] = task
        memberships.weights[:, 0] = strength
        memberships.weights[:, 1] = 1.0 - strength
        return memberships

    def state(self) -> State:
        """``mean`` and ``scale`` f32[p], ``axes`` f32[p, q], of the users of the fit: ``points`` f32[u, q],
        ``core``, ``own`` and ``strength`` f32[u], ``task`` i32[u]; ``reach`` f32[C].

        Unlike that of the other segments it holds (reduced) features of single users.
        """
        return dict(self._fitted())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` where an array is missing."""
        self._state = restored("segments/hdbscan", state, _NAMES)

    def _clusters(self, points: Float64) -> tuple[NDArray[np.int64], Float64]:
        """(labels i64[u], -1 for noise; strengths f64[u], 0 for noise)."""
        from sklearn.cluster import HDBSCAN
        from threadpoolctl import threadpool_limits

        if len(points) < max(self.min_size, self.min_samples):
            return np.full(len(points), -1), np.zeros(len(points))
        model = HDBSCAN(min_cluster_size=self.min_size, min_samples=self.min_samples, copy=True)
        with threadpool_limits(limits=1):  # one thread: the same bytes everywhere
            model.fit(points)
        return model.labels_, model.probabilities_

    def _core(self, queries: Float64, points: Float32) -> Float64:
        """f64[u], the distance of each query to the min_samples-th nearest point."""
        from sklearn.neighbors import NearestNeighbors

        nearest = min(self.min_samples, len(points))
        index = NearestNeighbors(n_neighbors=nearest, algorithm="kd_tree").fit(points.astype(np.float64))
        core: Float64 = index.kneighbors(queries)[0][:, -1]
        return core

    def _located(self, x: Float32) -> tuple[Int32, Float32]:
        """(task i32[u], -1 for noise; strength f32[u], 1 for noise: all of it is the parent's)."""
        state = self._fitted()
        standard = standardised(checked(x, len(state["mean"])), state)
        queries = (standard @ state["axes"].astype(np.float64)).astype(np.float32).astype(np.float64)
        task, strength = np.full(len(queries), -1, np.int32), np.ones(len(queries), np.float32)
        members = np.flatnonzero(state["task"] >= 0)
        if not len(members) or not len(queries):
            return task, strength
        core = self._core(queries, state["points"])
        points = state["points"][members].astype(np.float64)
        reach = state["reach"][state["task"][members]] * _ROUNDING  # [members]
        for start in range(0, len(queries), _BLOCK):
            part = slice(start, start + _BLOCK)
            straight = _distances(queries[part], points)  # [block, members]
            mutual = _mutual(straight, core[part], state["core"][members])
            mutual[mutual > reach] = np.inf
            near = mutual.min(axis=1)
            # Many are equally near by mutual reachability; of these the nearest in space, oneself if present.
            straight[mutual > near[:, None] * _ROUNDING] = np.inf
            found = members[straight.argmin(axis=1)]
            tied = np.minimum(1.0, state["own"][found] / np.maximum(near, 1e-12))
            inside = np.isfinite(near)
            task[part] = np.where(inside, state["task"][found], -1)
            strength[part] = np.where(inside, state["strength"][found] * np.where(near > 0, tied, 1.0), 1.0)
        return task, strength

    def _fitted(self) -> State:
        if not self._state:
            raise NotFittedError("segments/hdbscan isn't fitted; call fit(x, rng) or restore(state) first")
        return self._state


def _principal_axes(standard: Float64, dimensions: int) -> Float64:
    """f64[p, q], the first principal axes; the largest entry of each is positive: signs are settled."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):  # one thread: the same bytes everywhere
        _, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
    axes = vectors[:, ::-1][:, :dimensions]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    rounded: Float64 = (axes * np.where(signs == 0, 1, signs)).astype(np.float32).astype(np.float64)
    return rounded


def _distances(a: Float64, b: Float64) -> Float64:
    """f64[len(a), len(b)], Euclidean."""
    squared = np.zeros((len(a), len(b)))
    for axis in range(a.shape[1]):  # differences, because the product form cancels between near points
        squared += np.square(a[:, axis, None] - b[None, :, axis])
    return np.sqrt(squared)


def _mutual(straight: Float64, core_a: Float64, core_b: NDArray[Any]) -> Float64:
    """f64[a, b], mutual reachability of points at the given distances."""
    distance: Float64 = np.maximum(straight, np.maximum(core_a[:, None], core_b[None, :]))
    return distance


def _nearest_fellow(points: Float64, core: Float64) -> Float64:
    """f64[m], the mutual reachability of each of m ≥ 2 points to its nearest fellow."""
    nearest = np.empty(len(points))
    for start in range(0, len(points), _BLOCK):
        part = slice(start, start + _BLOCK)
        distance = _mutual(_distances(points[part], points), core[part], core)
        rows = np.arange(len(distance))
        distance[rows, rows + start] = np.inf
        nearest[part] = distance.min(axis=1)
    return nearest
