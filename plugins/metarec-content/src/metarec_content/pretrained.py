"""What image and audio encoders share: files in, one vector each out, by a transformers model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from metarec_content.cache import VectorCache, cached
from metarec_content.columns import files, of_one_scale, place
from metarec_content.weights import folder_of, identity_of, loaded, module
from metarec_sdk.errors import DataError
from metarec_sdk.types import Float32


class PretrainedFiles:
    """Encodes one file at a time, so that a vector doesn't depend on what else is encoded."""

    extra = ""
    """Of the distribution; names the libraries in messages."""
    projection = ""
    """Method of models of two towers that gives the features of this one."""
    libraries: tuple[str, ...] = ()
    """Distributions on which a vector depends."""

    def __init__(
        self, model: str | None, column: str, root: str, device: str, cache: bool | str, cache_mib: int
    ) -> None:
        self.model = model
        self.column = column
        self.root = root
        self.device = device
        self._cache = VectorCache.at(cache, cache_mib)

    def encode(self, items: pl.DataFrame) -> Float32:
        """f32[n, c], rows of length √c, c as the model has it (1 where there is no file at all); 0 for null.

        Raises `ColumnError` for a column that is missing or holds neither paths nor bytes, `DataError` for a
        file that can't be read, `ArtefactError` where the folder holds no whole model, and
        `MissingDependencyError` for a library that isn't installed.
        """
        contents = files(items, self.column, self.root)

        def encoded(rows: list[int]) -> Iterator[Float32]:
            for row in rows:
                try:
                    inputs = self._read(contents[row] or b"")
                except Exception as error:
                    raise DataError(
                        f"{place(items, row)}: column {self.column!r} can't be read as {self.extra} "
                        f"({error}); convert the file to a common format, or set it to null"
                    ) from error
                yield self._pooled(inputs)

        return of_one_scale(cached(contents, self._identity, encoded, self._cache))

    def _identity(self) -> str:
        module("transformers", "transformers", self.extra)
        files_of_model = [file for file in folder_of(self.model).iterdir() if file.is_file()]
        return identity_of(files_of_model, ("transformers", *self.libraries), **self._parameters())

    def _parameters(self) -> dict[str, Any]:
        return {}

    def _read(self, content: bytes) -> Any:
        """Inputs of the model, by name."""
        raise NotImplementedError

    @cached_property
    def _network(self) -> Any:
        transformers = module("transformers", "transformers", self.extra)
        return loaded(transformers.AutoModel, folder_of(self.model)).to(self.device)

    def _pooled(self, inputs: Any) -> Float32:
        """f32[c]: the model's own projection where it has one, else the mean of the last layer's positions.

        Not the pooler's output, whose weights are random in models that were trained without it.
        """
        import torch

        network = self._network
        with torch.inference_mode():
            inputs = {name: value.to(self.device) for name, value in inputs.items()}
            if hasattr(network, self.projection):
                found = getattr(network, self.projection)(**inputs)
                vector = found if isinstance(found, torch.Tensor) else found.pooler_output  # [1, c]
                return np.asarray(vector[0].float().cpu())
            hidden = network(**inputs).last_hidden_state[0].float()
        # [c, height, width] of a convolutional network, else [positions, c]
        pooled = hidden.mean(dim=(1, 2)) if hidden.dim() == 3 else hidden.mean(dim=0)
        return np.asarray(pooled.cpu())
