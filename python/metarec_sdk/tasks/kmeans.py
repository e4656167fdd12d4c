"""Found tasks: k-means++ over users, with soft membership in the two nearest clusters.

Found clusters earn nothing on most data, so they are only ever a candidate beside C = 1, see
`metarec_sdk.tasks.choose_n_tasks`. k-means++: Arthur & Vassilvitskii, SODA 2007; mini-batches: Sculley,
WWW 2010; both by scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, NotFittedError
from metarec_sdk.tasks.features import checked_features
from metarec_sdk.types import Float32, Int32, Memberships, State

_BLOCK = 65_536  # users per block of distances, so that memory doesn't grow with their number


class KMeansTasks:
    """Clusters of standardised user features, largest first; small clusters fall back to the parent.

    Membership is the posterior of a spherical Gaussian mixture with the clusters' shares as prior and
    their mean within-cluster variance: ``π_uc ∝ share_c · exp(−‖z_u − centre_c‖² / (2 softness σ²))`` over
    the two most probable clusters.
    """

    column: str | None = None

    def __init__(
        self,
        *,
        n_tasks: int = 8,
        min_size: int = 50,
        restarts: int = 4,
        iterations: int = 100,
        softness: float = 1.0,
        minibatch_above: int = 100_000,
    ) -> None:
        """n_tasks: clusters asked for; fewer come back where there are fewer distinct users.

        min_size: users below which a cluster is served by the parent. restarts: k-means++ starts, the best
        inertia wins. softness: multiplies σ²; 0 makes membership hard. minibatch_above: users beyond which
        mini-batches are used.
        """
        for name, value in {"n_tasks": n_tasks, "min_size": min_size, "restarts": restarts}.items():
            if value < 1:
                raise ArgumentError(f"{name} must be ≥ 1, got {value}")
        if iterations < 1 or softness < 0:
            raise ArgumentError(f"need iterations ≥ 1 and softness ≥ 0, got {iterations} and {softness}")
        self.requested = n_tasks
        self.min_size = min_size
        self.restarts = restarts
        self.iterations = iterations
        self.softness = softness
        self.minibatch_above = minibatch_above
        self._state: State = {}

    @property
    def n_tasks(self) -> int:
        """C, the clusters with enough users."""
        return int(self._fitted()["task"].max(initial=-1)) + 1

    @property
    def centres(self) -> Float32:
        """f32[C, p], the centres of the tasks in standardised features."""
        state = self._fitted()
        return state["centres"][state["task"] >= 0]

    def fit(self, x: Float32, rng: np.random.Generator) -> None:
        """Cluster x f32[u, p], u ≥ 1. The same rng gives the same bytes, whatever the thread count."""
        features = checked_features(x)
        if not len(features):
            raise ArgumentError("x has no rows; clustering needs at least one user")
        mean = features.mean(0, dtype=np.float64)
        scale = features.std(0, dtype=np.float64)
        scale[scale < 1e-6] = 1.0  # a constant column tells users apart no better than its zero
        standard = ((features - mean) / scale).astype(np.float32)
        centres, labels = self._cluster(standard, int(rng.integers(2**31 - 1)))
        sizes = np.bincount(labels, minlength=len(centres))
        order = np.argsort(-sizes, kind="stable")
        centres, sizes = centres[order], sizes[order]
        kept = sizes >= self.min_size
        within = np.square(standard - centres[np.argsort(order)][labels], dtype=np.float64).mean()
        self._state = {
            "mean": mean.astype(np.float32),
            "scale": scale.astype(np.float32),
            "centres": np.ascontiguousarray(centres),
            "task": np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32),
            "share": (sizes / len(features)).astype(np.float32),
            "variance": np.array([within], np.float32),
        }

    def assign(self, x: Float32) -> Int32:
        """i32[u], the task of the nearest centre of x f32[u, p]; -1 where that cluster is too small."""
        task = self._fitted()["task"]
        nearest = [squared.argmin(1) for squared in self._distances(x)]
        return task[np.concatenate(nearest)] if nearest else np.zeros(0, np.int32)

    def memberships(self, x: Float32) -> Memberships:
        """The two most probable tasks of each row of x f32[u, p], most probable first."""
        state = self._fitted()
        spread = 2.0 * self.softness * float(state["variance"][0])
        tasks, weights = [np.zeros((0, 2), np.int32)], [np.zeros((0, 2), np.float32)]
        for squared in self._distances(x):
            if spread > 0:
                score = np.log(np.maximum(state["share"], 1e-12)) - squared / spread
            else:
                score = -squared * np.float32(1e6)
            if score.shape[1] == 1:
                score = np.column_stack([score, np.full(len(score), -np.inf, np.float32)])
            best = np.argsort(-score, axis=1, kind="stable")[:, :2]  # [block, 2]
            top = np.take_along_axis(score, best, 1)
            weight = np.exp(top - top[:, :1]).astype(np.float32)
            tasks.append(np.append(state["task"], np.int32(-1))[best])
            weights.append(weight / weight.sum(1, keepdims=True))
        return Memberships(np.concatenate(tasks).astype(np.int32), np.concatenate(weights))

    def state(self) -> State:
        """``mean`` and ``scale`` f32[p], ``centres`` f32[K, p], ``task`` i32[K] (-1: too small),
        ``share`` f32[K], ``variance`` f32[1]."""
        return dict(self._fitted())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave."""
        names = ("mean", "scale", "centres", "task", "share", "variance")
        self._state = {name: np.asarray(state[name]) for name in names}

    def renumber(self, ids: Int32) -> None:
        """Give task c the id ``ids[c]`` (a permutation of 0 … C-1), to keep ids over a nightly refit.

        Raises `ArgumentError` where ids isn't a permutation; see `metarec_sdk.tasks.match_tasks`.
        """
        if sorted(np.asarray(ids).tolist()) != list(range(self.n_tasks)):
            raise ArgumentError(f"ids must be a permutation of 0 … {self.n_tasks - 1}, got {ids}")
        state = self._fitted()
        task = state["task"]
        renamed = np.where(task >= 0, np.append(ids, -1)[task], -1).astype(np.int32)
        order = np.argsort(np.where(renamed >= 0, renamed, len(renamed)), kind="stable")
        moved = {name: np.ascontiguousarray(state[name][order]) for name in ("centres", "share")}
        self._state = {**state, **moved, "task": renamed[order]}

    def _cluster(self, standard: Float32, seed: int) -> tuple[Float32, Int32]:
        from sklearn.cluster import KMeans, MiniBatchKMeans
        from threadpoolctl import threadpool_limits

        distinct = len(np.unique(standard, axis=0)) if len(standard) < 10_000 else len(standard)
        n_clusters = min(self.requested, distinct)
        large = len(standard) > self.minibatch_above
        kind = MiniBatchKMeans if large else KMeans
        model = kind(
            n_clusters=n_clusters,
            init="k-means++",
            n_init=self.restarts,
            max_iter=self.iterations,
            random_state=seed,
        )
        # One thread: the order of the partial sums over threads would show in the last bits.
        with threadpool_limits(limits=1):
            labels = model.fit(standard).labels_
        return np.asarray(model.cluster_centers_, np.float32), np.asarray(labels, np.int32)

    def _distances(self, x: Float32) -> Iterator[Float32]:
        """Squared distances f32[block, K] of x to every centre, block by block."""
        state = self._fitted()
        features = checked_features(x, len(state["mean"]))
        centres = state["centres"]
        for start in range(0, len(features), _BLOCK):
            standard = (features[start : start + _BLOCK] - state["mean"]) / state["scale"]
            cross = standard @ centres.T
            squared = np.square(standard).sum(1)[:, None] - 2 * cross + np.square(centres).sum(1)
            yield np.maximum(squared, 0)

    def _fitted(self) -> State:
        if not self._state:
            raise NotFittedError("KMeansTasks isn't fitted; call fit(x, rng) or restore(state) first")
        return self._state
