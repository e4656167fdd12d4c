"""Given segments, extended to users without one by a support vector machine.

One machine a label against the rest (Cortes & Vapnik, Machine Learning 1995), its margins turned into
probabilities by a sigmoid fitted on held-out margins (Platt 1999) and scaled to sum to 1 over the labels
(Zadrozny & Elkan, KDD 2002). Fitted by scikit-learn, applied here in NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, DataError, NotFittedError
from metarec_sdk.types import Float32, Float64, Int32, Memberships, State
from metarec_segments.features import at_least_one, checked, restored, scales, standardised

_NAMES = ("mean", "scale", "codes", "gamma", "vectors", "dual", "intercept", "slope", "offset")
_BLOCK = 4096  # users per block of kernel values


class LabelledSegments:
    """Segments by the values of a column; users without a value get one from their features.

    x is f32[u, 1 + p]: the category code of the column, -1 for unknown, then the features (``with_features``
    asks for them). A user with a kept label belongs to it entirely; one with a rare label, as with the
    built-in ``column``, to the parent; one without a label to the two likeliest segments by their
    probability.
    """

    with_features = True

    def __init__(
        self,
        *,
        column: str = "segment",
        min_size: int = 50,
        kernel: Literal["rbf", "linear"] = "rbf",
        cost: float = 1.0,
        folds: int = 5,
        most_users: int = 5_000,
    ) -> None:
        """column: of the log or of the users' table. min_size: users below which a label is no segment.

        kernel: ``rbf`` with γ = 1/p on standardised features, or ``linear``. cost: C of the machines, a
        small one gives wide margins. folds: of the cross-validation behind the probabilities. most_users:
        labelled users to learn from, a random sample where there are more (time grows with the square).

        Raises `ArgumentError` for a number out of range.
        """
        if not column:
            raise ArgumentError("column is empty; give the name of the column that holds the segments")
        if kernel not in ("rbf", "linear"):
            raise ArgumentError(f"kernel must be 'rbf' or 'linear', got {kernel!r}")
        if not 0 < cost < np.inf:
            raise ArgumentError(f"cost must be a finite number > 0, got {cost}")
        for name, value in {"min_size": min_size, "folds": folds, "most_users": most_users}.items():
            if value < 2:
                raise ArgumentError(f"{name} must be ≥ 2, got {value}")
        self.column: str | None = column
        self.min_size = min_size
        self.kernel = kernel
        self.cost = cost
        self.folds = folds
        self.most_users = most_users
        self._state: State = {}

    @property
    def n_tasks(self) -> int:
        """C, the labels with enough users."""
        return len(self._fitted()["codes"])

    def fit(self, x: Float32, rng: np.random.Generator) -> None:
        """Learn from the labelled rows of x f32[u, 1 + p]; task ids follow the codes that are kept.

        Raises `ArgumentError` for another shape or no features, `DataError` for a value that isn't finite or
        a code that isn't a whole number ≥ -1.
        """
        labels, features = self._parted(x)
        learned = scales(at_least_one(features))
        values, counts = np.unique(labels[labels >= 0], return_counts=True)
        codes = values[counts >= self.min_size]
        chosen = self._sample(labels, codes, rng)
        standard, task = standardised(features[chosen], learned), np.searchsorted(codes, labels[chosen])
        machines = self._machines(standard, task, len(codes), rng)
        self._state = {**learned, "codes": codes.astype(np.int64), **machines}

    def assign(self, x: Float32) -> Int32:
        """i32[u], the segment of each row of x f32[u, 1 + p]; -1 for a rare or an unseen label."""
        return self.memberships(x).tasks[:, 0]

    def memberships(self, x: Float32) -> Memberships:
        """The label's segment, or the two likeliest ones with their probabilities scaled to sum 1."""
        state = self._fitted()
        labels, features = self._parted(x, len(state["mean"]))
        memberships = Memberships.parent(len(labels))
        codes = state["codes"]
        if not len(codes):
            return memberships
        place = np.minimum(np.searchsorted(codes, labels), len(codes) - 1)
        memberships.tasks[:, 0] = np.where(codes[place] == labels, place, -1)
        unknown = np.flatnonzero(labels == -1)
        if len(codes) == 1:
            memberships.tasks[unknown, 0] = 0
            return memberships
        probability = self._probabilities(standardised(features[unknown], state))  # [unknown, C]
        best = np.argsort(-probability, axis=1, kind="stable")[:, :2]
        top = np.take_along_axis(probability, best, 1)
        memberships.tasks[unknown] = best
        memberships.weights[unknown] = top / top.sum(axis=1, keepdims=True)
        return memberships

    def probabilities(self, x: Float32) -> Float64:
        """f64[u, C], by the features alone, whatever label a row of x f32[u, 1 + p] has."""
        state = self._fitted()
        _, features = self._parted(x, len(state["mean"]))
        return self._probabilities(standardised(features, state))

    def state(self) -> State:
        """``mean`` and ``scale`` f32[p], ``codes`` i64[C], ``gamma`` f32[1] (0: linear); ``vectors``
        f32[s, p] with ``dual`` f32[s, M] and ``intercept`` f32[M] of the M machines (1 for two labels, which
        tells the second from the first, 0 for fewer), ``slope`` and ``offset`` f32[M] of their sigmoids."""
        return dict(self._fitted())

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` where an array is missing."""
        self._state = restored("segments/svm", state, _NAMES)

    def _sample(
        self, labels: NDArray[np.int64], codes: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Rows to learn from, in order: of each label its share, 2 at least."""
        rows = [np.flatnonzero(labels == code) for code in codes]
        total = sum(map(len, rows))
        if total > self.most_users:
            rows = [
                rng.choice(of_label, max(2, len(of_label) * self.most_users // total), replace=False)
                for of_label in rows
            ]
        return np.sort(np.concatenate([np.zeros(0, np.int64), *rows]))

    def _machines(self, standard: Float64, task: NDArray[Any], n: int, rng: np.random.Generator) -> State:
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.model_selection import StratifiedKFold
        from sklearn.svm import SVC
        from threadpoolctl import threadpool_limits

        p = standard.shape[1]
        gamma = float(np.float32(1 / p)) if self.kernel == "rbf" else 0.0
        folds = min(self.folds, int(np.bincount(task, minlength=1).min()))
        dual, rest = [], []
        used = np.zeros(len(standard), bool)
        for positive in {0: [], 1: [], 2: [1]}.get(n, range(n)):
            with threadpool_limits(limits=1):  # one thread: the same bytes everywhere
                model = CalibratedClassifierCV(
                    # a seed, because without one it draws from the global state, and never uses it
                    SVC(C=self.cost, kernel=self.kernel, gamma=gamma or "scale", random_state=0),
                    method="sigmoid",
                    cv=StratifiedKFold(folds, shuffle=True, random_state=int(rng.integers(2**31 - 1))),
                    ensemble=False,  # margins of all folds under one sigmoid, one machine on everybody
                ).fit(standard, task == positive)
            (calibrated,) = model.calibrated_classifiers_
            machine, (sigmoid,) = calibrated.estimator, calibrated.calibrators
            row = np.zeros(len(standard))
            row[machine.support_] = machine.dual_coef_[0]
            used[machine.support_] = True
            dual.append(row)
            rest.append((machine.intercept_[0], sigmoid.a_, sigmoid.b_))
        coefficients = np.array(dual).reshape(len(dual), -1).T[used] if dual else np.zeros((0, 0))
        intercept, slope, offset = np.array(rest, np.float32).reshape(-1, 3).T
        return {
            "gamma": np.array([gamma], np.float32),
            "vectors": standard[used].astype(np.float32),
            "dual": np.ascontiguousarray(coefficients, np.float32),
            "intercept": np.ascontiguousarray(intercept),
            "slope": np.ascontiguousarray(slope),
            "offset": np.ascontiguousarray(offset),
        }

    def _probabilities(self, standard: Float64) -> Float64:
        """f64[u, C] of u users, C ≥ 1."""
        state = self._fitted()
        n, gamma = len(state["codes"]), float(state["gamma"][0])
        if n == 1:
            return np.ones((len(standard), 1))
        vectors, dual = state["vectors"].astype(np.float64), state["dual"].astype(np.float64)
        parts = [np.zeros((0, dual.shape[1]))]
        for start in range(0, len(standard), _BLOCK):
            block = standard[start : start + _BLOCK]
            kernel = block @ vectors.T  # [block, s]
            if gamma:
                squared = np.square(block).sum(1)[:, None] - 2 * kernel + np.square(vectors).sum(1)
                kernel = np.exp(-gamma * np.maximum(squared, 0))
            parts.append(kernel @ dual + state["intercept"])
        margins = np.concatenate(parts)  # [u, M]
        # Platt's form is 1 / (1 + exp(a·f + b)); clipped, so that exp stays finite
        each = 1 / (1 + np.exp(np.clip(state["slope"] * margins + state["offset"], -500, 500)))
        if n == 2:
            return np.concatenate([1 - each, each], axis=1)
        scaled: Float64 = each / each.sum(axis=1, keepdims=True)
        return scaled

    def _parted(self, x: NDArray[Any], width: int | None = None) -> tuple[NDArray[np.int64], Float64]:
        """(codes i64[u], features f64[u, p])."""
        both = checked(x, None if width is None else 1 + width)
        if both.shape[1] < 2:
            raise ArgumentError(
                f"x must be f32[u, 1 + p], the code of column {self.column!r} and then p ≥ 1 features; got "
                f"shape {both.shape}"
            )
        labels = both[:, 0].astype(np.int64)
        if (wrong := (labels != both[:, 0]) | (labels < -1)).any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"x[{row}, 0] is {both[row, 0]}; it holds category codes 0, 1, 2, … of column "
                f"{self.column!r}, -1 for unknown"
            )
        return labels, both[:, 1:]

    def _fitted(self) -> State:
        if not self._state:
            raise NotFittedError("segments/svm isn't fitted; call fit(x, rng) or restore(state) first")
        return self._state
