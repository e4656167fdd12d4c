"""A network as named arrays, and back: with the model's configuration, so that no folder is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metarec_sdk.errors import ArtefactError
from metarec_sdk.types import State
from metarec_transformers import models
from metarec_transformers.network import HistoryNetwork
from metarec_transformers.tasks import attach

_CONFIG = "config"
_UP = ".adapter.b"
_PROBED = 4
"""Places on which it is found out whether the model needs a mask."""


def state_of(network: HistoryNetwork) -> State:
    """The tensors by name, and ``config`` u8, JSON in UTF-8."""
    state = {name: np.array(value.cpu().numpy(), order="C") for name, value in network.state_dict().items()}
    text = models.config_to_json(network.body.config)
    return {**state, _CONFIG: np.frombuffer(text.encode(), np.uint8).copy()}


def network_from_state(state: Mapping[str, NDArray[Any]], width: int) -> HistoryNetwork:
    """A settled network, on the CPU, with its adapters where the state has some.

    Raises `ArtefactError` where an array is missing, of another shape than the others say, or not finite.
    """
    for name, dimensions in (("items", 2), ("project", 2), (_CONFIG, 1)):
        if name not in state or state[name].ndim != dimensions:
            raise ArtefactError(f"the state of transformers/history has no usable array {name!r}")
    try:
        text = np.asarray(state[_CONFIG], np.uint8).tobytes().decode()
    except UnicodeDecodeError as error:
        raise ArtefactError(f"the state's configuration isn't text: {error}") from error
    body = models.random_model(models.config_from_json(text), seed=0)
    masked = models.needs_mask(body, body.config.model_type, _PROBED)
    network = HistoryNetwork(body, len(state["items"]), len(state["project"]), width, masked=masked)
    ups = [value for name, value in state.items() if name.endswith(_UP)]
    if ups:
        if ups[0].ndim != 3:
            raise ArtefactError(f"an adapter's B must be f32[T, d_out, r], got {ups[0].shape}")
        attach(network, n_tasks=ups[0].shape[0], rank=ups[0].shape[2], seed=0)
    _copy(network, state)
    return network.requires_grad_(False)


@torch.no_grad()
def _copy(network: HistoryNetwork, state: Mapping[str, NDArray[Any]]) -> None:
    for name, tensor in network.state_dict().items():
        if name not in state:
            raise ArtefactError(f"the state of transformers/history lacks {name!r}; it has {sorted(state)}")
        values = state[name]
        if values.shape != tuple(tensor.shape):
            raise ArtefactError(
                f"the state's {name!r} has shape {values.shape}, but it must be {tuple(tensor.shape)}; use "
                f"the width that it was fitted with"
            )
        if not np.isfinite(values).all():
            raise ArtefactError(f"the state's {name!r} holds NaN or infinite values")
        tensor.copy_(torch.from_numpy(np.array(values)))
