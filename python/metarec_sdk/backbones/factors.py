"""``factors``: implicit ALS as a backbone, whose user step is the ridge head's solver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk import _core
from metarec_sdk.errors import ArgumentError, ArtefactError, NotFittedError, StorageError
from metarec_sdk.heads.ials import Ials
from metarec_sdk.heads.native_errors import native_errors
from metarec_sdk.heads.parameters import restored
from metarec_sdk.types import Float32, Histories, Progress, State, TrainingLog, no_progress


class Factors:
    """Item factors of iALS (`metarec_sdk.heads.ials.Ials`); a history is encoded by one exact user step.

    ``init`` is the path of a safetensors file with ``item_factors`` f32[n, factors] to train on from.
    """

    def __init__(
        self,
        *,
        factors: int = 64,
        iterations: int = 12,
        regularization: float | None = None,
        unobserved_weight: float | None = None,
        exponent: float = 1.0,
        init: str | None = None,
    ) -> None:
        self.training = Ials(
            factors=factors,
            iterations=iterations,
            regularization=regularization,
            unobserved_weight=unobserved_weight,
            exponent=exponent,
        )
        self.init = init
        self._factors: Float32 | None = None
        self._solver: _core.FactorSolver | None = None

    def fit(self, log: TrainingLog, rng: np.random.Generator, progress: Progress = no_progress) -> None:
        """Train on the log; the same log and seed give the same bytes for any number of threads.

        Raises `StorageError` where ``init`` can't be read, `ArtefactError` where it isn't a safetensors file
        with finite ``item_factors``, and `ArgumentError` where that has another shape than (n, factors).
        """
        start = None if self.init is None else self._read_init(self.init, log.n_items)
        _, self._factors = self.training.train(log, rng, progress, start)
        self._solver = None

    def item_matrix(self) -> Float32:
        """f32[n, d]."""
        if self._factors is None:
            raise NotFittedError("Factors isn't fitted; call fit(log, rng) or restore(state) first")
        return self._factors

    def encode(self, histories: Histories) -> Float32:
        """f32[b, d], the user step of iALS with the events' weights as confidences; 0 for an empty history.

        Raises `ArgumentError` for items outside the catalogue.
        """
        if self._solver is None:
            self._solver = self.training.solver(self.item_matrix())
        with native_errors():
            return self._solver.solve(histories.offsets, histories.items, histories.weights)

    def state(self) -> State:
        """``item_factors`` f32[n, d]."""
        return {"item_factors": self.item_matrix()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `state` gave; raises `ArtefactError` where its width isn't ``factors``."""
        self._factors = restored("Factors", state, "item_factors", (None, self.training.factors))
        self._solver = None

    def _read_init(self, path: str, n_items: int) -> Float32:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays = load(Path(path).read_bytes())
        except OSError as error:
            raise StorageError(f"init={path!r} can't be read: {error.strerror or error}") from error
        except (SafetensorError, KeyError, ValueError) as error:
            raise ArtefactError(f"init={path!r} isn't a usable safetensors file: {error}") from error
        table = restored(f"init={path!r}", arrays, "item_factors", (None, None))
        if table.shape != (n_items, self.training.factors):
            raise ArgumentError(
                f"init={path!r} holds item_factors of shape {table.shape}, expected "
                f"({n_items}, {self.training.factors}): a row an item of the log and a column a factor"
            )
        return table
