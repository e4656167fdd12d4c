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
from metarec_sdk.types import Float32, Histories, Progress, State, TrainingLog, no_progress


class Bpr:
    """The item factors rank; a history is encoded by a linear map of the mean of its items' factors.

    The map is least squares from the training users' histories to the factors that the library gave these
    users, since it learns no other way from a history to a user it hasn't seen. ``params`` are those of the
    library's model. One thread, so that a seed gives the same bytes.
    """

    model = staticmethod(implicit.bpr.BayesianPersonalizedRanking)

    def __init__(self, **params: Any) -> None:
        self.params: dict[str, Any] = {"num_threads": 1, "use_gpu": False, **params}
        try:
            self._model()
        except TypeError as error:  # names what the library doesn't take
            raise ArgumentError(str(error)) from None
        self._state: State = {}

    def fit(self, log: TrainingLog, rng: np.random.Generator, progress: Progress = no_progress) -> None:
        """Train the library's model on the weights of the events."""
        model = self._model(random_state=int(rng.integers(2**31 - 1)))
        with threadpool_limits(limits=1):
            model.fit(
                _matrix(log.histories, log.n_items),
                show_progress=False,
                callback=lambda epoch, *_: progress(epoch + 1, model.iterations, "training"),
            )
            self._state = {"items": np.ascontiguousarray(model.item_factors, np.float32)}
            fold = np.linalg.lstsq(self._means(log.histories), model.user_factors, rcond=None)[0]
        self._state["fold"] = fold.astype(np.float32)  # [d + 1, d]

    def item_matrix(self) -> Float32:
        """f32[n, d]; BPR's and LMF's biases are columns of it."""
        if not self._state:
            raise NotFittedError("the backbone isn't fitted; call fit(log, rng) or restore(state) first")
        return self._state["items"]

    def encode(self, histories: Histories) -> Float32:
        """f32[b, d]; that of an empty history is the map's intercept."""
        return self._means(histories) @ self._state["fold"]

    def state(self) -> State:
        """``items`` f32[n, d] and, but for ALS, ``fold`` f32[d + 1, d]."""
        return {**self._state, "items": self.item_matrix()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` where the factors are missing."""
        if "items" not in state:
            raise ArtefactError(
                f"this is no state of an implicit model: 'items' is missing, got {list(state)}"
            )
        self._state = dict(state)

    def _model(self, **more: Any) -> Any:
        with threadpool_limits(limits=1):  # the library warns of more than one BLAS thread
            return self.model(**self.params, **more)

    def _means(self, histories: Histories) -> Float32:
        items = self.item_matrix()
        sums = _matrix(histories, len(items)) @ items
        counts = np.bincount(
            np.repeat(np.arange(len(histories)), histories.lengths), minlength=len(histories)
        )
        means = sums / np.maximum(counts, 1)[:, None]
        return np.hstack([means, np.ones((len(means), 1))]).astype(np.float32)


class Lmf(Bpr):
    """Logistic matrix factorisation; histories are encoded as `Bpr` does it."""

    model = staticmethod(implicit.lmf.LogisticMatrixFactorization)


class Als(Bpr):
    """Alternating least squares; a history is encoded by the library's own exact user step."""

    model = staticmethod(implicit.als.AlternatingLeastSquares)

    def encode(self, histories: Histories) -> Float32:
        """f32[b, d], 0 for an empty history."""
        model = self._model()
        model.item_factors = self.item_matrix().copy()  # the library takes writable arrays alone
        model.factors = model.item_factors.shape[1]
        with threadpool_limits(limits=1):
            return model.recalculate_user(
                np.arange(len(histories)), _matrix(histories, len(model.item_factors))
            )


def _matrix(histories: Histories, n_items: int) -> csr_matrix:
    # copies, since the host's arrays are read-only and the library refuses those
    rows = histories.weights, histories.items, histories.offsets
    matrix = csr_matrix(rows, (len(histories), n_items), copy=True)
    matrix.sum_duplicates()
    return matrix
