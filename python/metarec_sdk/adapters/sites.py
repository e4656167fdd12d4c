"""The places of a backbone where adapters sit, in torch, over a set of episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from metarec_sdk.adapters.batch import EpisodeTensors
from metarec_sdk.adapters.gates import Scorer, vector_scorer
from metarec_sdk.adapters.task_adapter import FINAL, soft_delta
from metarec_sdk.types import AdaptableBackbone, Backbone, Histories

Delta = Callable[[str, torch.Tensor], torch.Tensor]
_BLOCK = 1024
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Sites:
    """A frozen backbone as seen by its adapters."""

    sizes: dict[str, tuple[int, int]]
    """(d_in, d_out) by name."""
    items: torch.Tensor
    """f[n, d], the frozen item matrix."""
    prepare: Callable[[Histories], Mapping[str, Any]]
    run: Callable[[Tensors, Delta], torch.Tensor]
    """inputs of b histories and a delta -> f[b, d]."""

    @classmethod
    def of(cls, backbone: Backbone, dtype: torch.dtype = torch.float32) -> Sites:
        """The sites of an adaptable backbone, or the single site "final" of another one."""
        items = torch.from_numpy(backbone.item_matrix()).to(dtype)
        if isinstance(backbone, AdaptableBackbone):
            return cls(backbone.adapter_sites(), items, backbone.adapter_inputs, backbone.adapted)
        d = items.shape[1]
        return cls(
            {FINAL: (d, d)},
            items,
            lambda histories: {"h": backbone.encode(histories)},
            lambda inputs, delta: inputs["h"] + delta(FINAL, inputs["h"]),
        )

    def inputs(self, histories: Histories) -> Tensors:
        """Everything that doesn't depend on the adapters, computed once: name -> f[b, …]."""
        return {
            name: torch.from_numpy(value).to(self.items.dtype)
            for name, value in self.prepare(histories).items()
        }

    def hidden(self, inputs: Tensors, batch: EpisodeTensors, down: Tensors, up: Tensors) -> torch.Tensor:
        """f[b, d] under each episode's soft adapter; a site that isn't in ``down`` stays as it is."""

        def delta(site: str, x: torch.Tensor) -> torch.Tensor:
            if site not in down:
                return x.new_zeros(())
            return soft_delta(x @ down[site].T, up[site], batch.rows, batch.memberships)

        return self.run(inputs, delta)

    def scorer(self, inputs: Tensors, episodes: EpisodeTensors, down: Tensors, up: Tensors) -> Scorer:
        """Scores of an episode set whose inputs are given, its vectors computed once."""
        with torch.no_grad():
            blocks = [
                self.hidden(
                    {name: value[rows] for name, value in inputs.items()}, episodes.take(rows), down, up
                )
                for rows in torch.split(torch.arange(len(episodes)), _BLOCK)
            ]
        return vector_scorer(torch.cat(blocks), self.items)
