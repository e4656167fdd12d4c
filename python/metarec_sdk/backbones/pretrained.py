"""Reads named arrays into a SASRec network: what was stored, or a larger model trained elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metarec_sdk.backbones.sasrec_model import SASRecModel
from metarec_sdk.errors import ArtefactError, StorageError


def read_arrays(path: str) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file (bfloat16 too, as float32).

    Raises:
        StorageError: the file can't be read.
        ArtefactError: it isn't a safetensors file, or is truncated.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise StorageError(f"init={path!r} can't be read: {error.strerror or error}") from error
    try:
        return {name: value.float().numpy() for name, value in load(data).items()}
    except (SafetensorError, KeyError, ValueError) as error:
        raise ArtefactError(f"init={path!r} isn't a usable safetensors file: {error}") from error


def load_arrays(
    model: SASRecModel, arrays: Mapping[str, NDArray[Any]], source: str, *, required: bool
) -> None:
    """Copy each array into the parameter of its name; names that the network doesn't have are left out.

    With ``required`` every parameter must be there; without, at least one.

    Raises:
        ArtefactError: an array is missing, has another shape than its parameter or isn't finite. The network
            is unchanged.
    """
    parameters = dict(model.named_parameters())
    found = [name for name in parameters if name in arrays]
    if not found or (required and len(found) < len(parameters)):
        missing = sorted(set(parameters) - set(found))
        raise ArtefactError(f"{source} lacks {missing}; it has {sorted(arrays)}")
    for name in found:
        got, wanted = arrays[name].shape, tuple(parameters[name].shape)
        if got != wanted:
            raise ArtefactError(
                f"{source}: {name!r} has shape {got}, but these arguments of SASRec make it {wanted}; use "
                "the width, feedforward, blocks and history_limit that it was made with"
            )
        if not np.isfinite(arrays[name]).all():
            raise ArtefactError(f"{source}: {name!r} holds NaN or infinite values")
    with torch.no_grad():
        for name in found:
            parameters[name].copy_(torch.from_numpy(np.array(arrays[name], np.float32)))
