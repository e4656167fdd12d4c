"""implicit's matrix factorisations (Hu et al. 2008, Rendle et al. 2009, Johnson 2014) as backbones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import implicit
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from metarec_sdk.errors import ArgumentError, ArtefactError, NotFittedError
from metarec_sdk.types import Float32, Float64, Histories, Progress, State, TrainingLog, no_progress


class Bpr:
    """The item factors rank; a history is encoded by a linear map of the mean of its items' factors.

    The map is least squares from the training users' histories to the factors that the library gave these
    users, since it learns no other way from a history to a user it hasn't seen. ``params`` are those of the
    library's model. One thread, so that a seed gives the same bytes.
    """

    model = staticmethod(implicit.bpr.BayesianPersonalizedRanking)

    @threadpool_limits.wrap(limits=1)  # the library warns of more than one BLAS thread
    def __init__(self, **params: Any) -> None:
        self.params: dict[str, Any] = {"num_threads": 1, "use_gpu": False, **params}
        self._state: State = {}
        try:
            self.model(**self.params)
        except TypeError as error:  # names what the library doesn't take
            raise ArgumentError(str(error)) from None

    @threadpool_limits.wrap(limits=1)
    def fit(self, log: TrainingLog, rng: np.random.Generator, progress: Progress = no_progress) -> None:
        """Train the library's model on the weights of the events."""
        model = self.model(**self.params, random_state=int(rng.integers(2**31 - 1)))
        matrix = _matrix(log.histories, log.n_items)
        model.fit(
            matrix, show_progress=False, callback=lambda i, *_: progress(i + 1, model.iterations, "training")
        )
        self._state = {"items": np.ascontiguousarray(model.item_factors, np.float32)}
        self._state["fold"] = np.linalg.lstsq(self._means(log.histories), model.user_factors, rcond=1e-5)[0]

    def item_matrix(self) -> Float32:
        """f32[n, d]; BPR's and LMF's biases are columns of it."""
        if not self._state:
            raise NotFittedError("the backbone isn't fitted; call fit(log, rng) or restore(state) first")
        return self._state["items"]

    def encode(self, histories: Histories) -> Float32:
        """f32[b, d]; that of an empty history is the map's intercept."""
        return (self._means(histories) @ self._state["fold"]).astype(np.float32)

    def state(self) -> State:
        """``items`` f32[n, d] and the map of `encode`, ``fold`` f64[d + 1, d]."""
        return {**self._state, "items": self.item_matrix()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` where the factors are missing."""
        if "items" not in state:
            raise ArtefactError(f"an implicit model's state holds 'items', but this one {list(state)}")
        self._state = dict(state)

    def _means(self, histories: Histories) -> Float64:  # the map may be large, and its terms cancel out
        items = self.item_matrix()
        means = _matrix(histories, len(items)) @ items / np.maximum(histories.lengths, 1)[:, None]
        return np.hstack([means, np.ones((len(means), 1))])


class Lmf(Bpr):
    """Logistic matrix factorisation; histories are encoded as `Bpr` does it."""

    model = staticmethod(implicit.lmf.LogisticMatrixFactorization)


class Als(Bpr):
    """Alternating least squares; a history is encoded by the library's own exact user step."""

    model = staticmethod(implicit.als.AlternatingLeastSquares)

    @threadpool_limits.wrap(limits=1)
    def encode(self, histories: Histories) -> Float32:
        """f32[b, d], 0 for an empty history."""
        model, items = self.model(**self.params), self.item_matrix().copy()  # it takes writable arrays alone
        model.item_factors, model.factors = items, items.shape[1]
        return model.recalculate_user(np.arange(len(histories)), _matrix(histories, len(items)))


def _matrix(histories: Histories, n_items: int) -> csr_matrix:
    rows = histories.weights, histories.items, histories.offsets
    matrix = csr_matrix(rows, (len(histories), n_items), copy=True)  # the library refuses read-only arrays
    matrix.sum_duplicates()
    return matrix
