"""Segments as the components of a Gaussian mixture with diagonal covariances.

Dempster, Laird & Rubin, JRSS B 1977; fitted by scikit-learn, applied here in NumPy from four small arrays.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, NotFittedError
from metarec_sdk.types import Float32, Int32, Memberships, State
from metarec_segments.features import at_least_one, checked, restored, scales, standardised

_NAMES = ("mean", "scale", "share", "centres", "variances", "task")


class GaussianSegments:
    """Overlapping segments, largest first; a segment with too few users falls back to the parent."""

    column: str | None = None

    def __init__(
        self,
        *,
        n_tasks: int = 8,
        min_size: int = 50,
        restarts: int = 2,
        iterations: int = 100,
        regularization: float = 1e-3,
    ) -> None:
        """n_tasks: segments asked for; fewer come back where there are fewer distinct users.

        min_size: users below which a segment is served by the parent. restarts: starts of EM, the likeliest
        mixture wins. iterations: of EM, at most. regularization: added to each variance, in squared standard
        deviations of the feature.

        Raises `ArgumentError` for a number out of range.
        """
        for name, value in {"n_tasks": n_tasks, "min_size": min_size, "restarts": restarts}.items():
            if value < 1:
                raise ArgumentError(f"{name} must be ≥ 1, got {value}")
        if iterations < 1 or not regularization > 0:
            raise ArgumentError(
                f"need iterations ≥ 1 and regularization > 0, got {iterations} and {regularization}"
            )
        self.requested = n_tasks
        self.min_size = min_size
        self.restarts = restarts
        self.iterations = iterations
        self.regularization = regularization
        self._state: State = {}

    @property
    def n_tasks(self) -> int:
        """C, the segments with enough users."""
        return int(self._fitted()["task"].max(initial=-1)) + 1

    def fit(self, x: Float32, rng: np.random.Generator) -> None:
        """Fit the mixture to x f32[u, p], u ≥ 1. The same rng gives the same segments.

        Raises `ArgumentError` for another shape, `DataError` for a value that isn't finite.
        """
        features = at_least_one(checked(x))
        learned = scales(features)
        standard = standardised(features, learned)
        mixture = self._mixture(standard, int(rng.integers(2**31 - 1)))
        sizes = np.bincount(mixture.predict(standard), minlength=mixture.n_components)
        order = np.argsort(-sizes, kind="stable")
        kept = sizes[order] >= self.min_size
        self._state = {
            **learned,
            "share": mixture.weights_[order].astype(np.float32),
            "centres": np.ascontiguousarray(mixture.means_[order], np.float32),
            "variances": np.ascontiguousarray(mixture.covariances_[order], np.float32),
            "task": np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32),
        }

    def assign(self, x: Float32) -> Int32:
        """i32[u], the likeliest segment of each row of x f32[u, p]; -1 where that segment is too small."""
        assigned: Int32 = self._fitted()["task"][self._log_posterior(x).argmax(1)]
        return assigned

    def memberships(self, x: Float32) -> Memberships:
        """The two likeliest segments of each row of x f32[u, p], with their posteriors scaled to sum 1."""
        task = self._fitted()["task"]
        posterior = self._log_posterior(x)  # [u, K]
        if posterior.shape[1] == 1:
            posterior = np.column_stack([posterior, np.full(len(posterior), -np.inf)])
            task = np.append(task, np.int32(-1))
        best = np.argsort(-posterior, axis=1, kind="stable")[:, :2]  # [u, 2]
        top = np.take_along_axis(posterior, best, 1)
        weights = np.exp(top - top[:, :1])
        weights /= weights.sum(1, keepdims=True)
        return Memberships(task[best].astype(np.int32), weights.astype(np.float32))

    def state(self) -> State:
        """``mean`` and ``scale`` f32[p], ``share`` f32[K], ``centres`` and ``variances`` f32[K, p] and
        ``task`` i32[K] (-1: too small)."""
        return dict(self._fitted())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` where an array is missing."""
        self._state = restored("segments/gmm", state, _NAMES)

    def _mixture(self, standard: NDArray[np.float64], seed: int) -> Any:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture
        from threadpoolctl import threadpool_limits

        model = GaussianMixture(
            n_components=min(self.requested, len(np.unique(standard, axis=0))),
            covariance_type="diag",
            n_init=self.restarts,
            max_iter=self.iterations,
            reg_covar=self.regularization,
            random_state=seed,
        )
        with warnings.catch_warnings(), threadpool_limits(limits=1):  # one thread: the same bytes everywhere
            # A mixture that EM left early is a valid one, only a little less likely.
            warnings.simplefilter("ignore", ConvergenceWarning)
            if len(standard) == 1:  # scikit-learn wants two rows
                standard = np.repeat(standard, 2, axis=0)
            return model.fit(standard)

    def _log_posterior(self, x: Float32) -> NDArray[np.float64]:
        """[u, K], up to a constant of each row: log share + log density."""
        state = self._fitted()
        standard = standardised(checked(x, len(state["mean"])), state)
        precision = 1.0 / state["variances"].astype(np.float64)  # [K, p]
        centres = state["centres"].astype(np.float64)
        squared = (
            np.square(standard) @ precision.T
            - 2.0 * standard @ (precision * centres).T
            + (precision * np.square(centres)).sum(1)
        )  # [u, K]
        log_share = np.log(np.maximum(state["share"].astype(np.float64), 1e-12))
        posterior: NDArray[np.float64] = log_share + 0.5 * np.log(precision).sum(1) - 0.5 * squared
        return posterior

    def _fitted(self) -> State:
        if not self._state:
            raise NotFittedError("segments/gmm isn't fitted; call fit(x, rng) or restore(state) first")
        return self._state
