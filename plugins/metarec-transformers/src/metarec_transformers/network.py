"""The network: vectors of items from content and ids, a transformer over them, a query after every prefix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from metarec_sdk.adapters.attach import AttachedAdapters
from metarec_sdk.backbones.dropout import keep_all
from metarec_sdk.backbones.network import Drop
from metarec_sdk.backbones.windows import Batch
from metarec_sdk.types import Histories
from metarec_transformers.models import input_width, run


class OwnDropout(nn.Module):
    """In the place of a model's dropout: drops by the trainer's noise, so that a fit is reproducible."""

    drop: Drop = staticmethod(keep_all)

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape."""
        return self.drop(x)


class HistoryNetwork(nn.Module):
    """Item vectors -> inward -> body -> outward: a `metarec_sdk.backbones.network.Network`.

    While it learns, item i is ``items[i] + content[i] @ project``; `settle` adds the two up for good.
    """

    centre: Tensor
    content: Tensor | None

    def __init__(
        self, body: PreTrainedModel, n_items: int, n_content: int, width: int, *, masked: bool
    ) -> None:
        """n_content: c, columns of the content, 0 where there is none. masked: see `models.needs_mask`."""
        super().__init__()
        self.width, self.masked = width, masked
        self.body = body
        _replace_dropout(body)
        self.items = nn.Parameter(torch.zeros(n_items, width))
        self.project = nn.Parameter(torch.zeros(n_content, width))
        self.register_buffer("centre", torch.zeros(n_content))
        self.start = nn.Parameter(torch.empty(width))
        self.inward = nn.Linear(width, input_width(body), device="meta").to_empty(device="cpu")
        self.outward = nn.Linear(body.config.hidden_size, width, device="meta").to_empty(device="cpu")
        self.register_buffer("content", None, persistent=False)
        self.adapters: AttachedAdapters | None = None

    @torch.no_grad()
    def initialise(self, content: Tensor | None, ids: bool, generator: torch.Generator) -> None:
        """Set everything but the body: Normal(0, 0.02) vectors, Glorot-normal matrices.

        content: f32[n, c] or None; ids: whether items have a learned vector of their own.
        """
        self.start.normal_(0.0, 0.02, generator=generator)
        for layer in (self.inward, self.outward):
            nn.init.xavier_normal_(layer.weight, generator=generator)
            layer.bias.zero_()
        self.items.requires_grad_(ids)
        if ids:
            self.items.normal_(0.0, 0.02, generator=generator)
        if content is not None:
            described = content.any(1)
            if described.any():
                self.centre.copy_(content[described].mean(0))
            self.project.normal_(0.0, 0.02, generator=generator)
            self.content = self.standardised(content)

    def standardised(self, content: Tensor) -> Tensor:
        """[j, c] centred rows of length 1; a row of zeros, which says nothing, stays one."""
        rows = F.normalize(content - self.centre, dim=-1)
        return torch.where(content.any(1, keepdim=True), rows, 0.0)

    def place(self, content: Tensor) -> Tensor:
        """[j, d], vectors of items from their content [j, c] alone."""
        return self.standardised(content) @ self.project

    def table(self) -> Tensor:
        """[n, d]."""
        return self.items if self.content is None else self.items + self.content @ self.project

    @torch.no_grad()
    def settle(self) -> None:
        """Keep the items' vectors as they are and forget the content."""
        self.items.copy_(self.table())
        self.content = None
        self.requires_grad_(False)

    def forward(self, items: Tensor, drop: Drop = keep_all) -> Tensor:
        """int64[b, l] items, padded on the right with any item -> [b, l + 1, d].

        Column j is the query after the first j events; it depends on nothing else.
        """
        start = self.start.expand(len(items), 1, self.width)
        x = torch.cat([start, F.embedding(items, self.table())], dim=1) * math.sqrt(self.width)
        with self._dropping(drop):
            states = run(self.body, self.inward(drop(x)), masked=self.masked)  # [b, l + 1, h]
        queries: Tensor = self.outward(states)
        return queries

    def states(self, batch: Batch, drop: Drop) -> Tensor:
        """[b, l + 1, d], the queries after each prefix of the rows."""
        states: Tensor = self(torch.from_numpy(batch.inputs).to(self.items.device), drop)
        return states

    @torch.no_grad()
    def encode(self, histories: Histories) -> Tensor:
        """[b, d], the queries after rows of at most history_limit events."""
        lengths = histories.lengths
        real = np.arange(int(lengths.max(initial=0))) < lengths[:, None]  # [b, l]
        padded = np.zeros(real.shape, np.int64)
        padded[real] = histories.items
        states = self(torch.from_numpy(padded).to(self.items.device))  # [b, l + 1, d]
        rows = torch.arange(len(states), device=states.device)
        last: Tensor = states[rows, torch.from_numpy(lengths).to(states.device)]
        return last

    @contextmanager
    def _dropping(self, drop: Drop) -> Iterator[None]:
        own = [module for module in self.body.modules() if isinstance(module, OwnDropout)]
        for module in own:
            module.drop = drop
        try:
            yield
        finally:
            for module in own:
                module.drop = keep_all


def _replace_dropout(model: nn.Module) -> None:
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout):
                setattr(parent, name, OwnDropout())
