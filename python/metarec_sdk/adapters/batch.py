"""Episodes as padded torch tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metarec_sdk.types import Episodes, Histories, Memberships

BIN_EDGES = (1, 2, 3, 5, 7, 10, 20)
"""Bin b of a support of k events: the number of edges ≤ k, so 0 | 1 | 2 | 3-4 | 5-6 | 7-9 | 10-19 | 20+."""
N_BINS = len(BIN_EDGES) + 1


@dataclass(frozen=True)
class EpisodeTensors:
    """b episodes, padded to the longest support s and query q; padding has weight 0 and item 0."""

    support: torch.Tensor
    """i64[b, s], oldest first."""
    support_weights: torch.Tensor
    """f[b, s], the events' weights ω."""
    support_ages: torch.Tensor
    """i64[b, s], 0 for the newest event."""
    present: torch.Tensor
    """bool[b, s], False for padding."""
    query: torch.Tensor
    """i64[b, q]."""
    query_weights: torch.Tensor
    """f[b, q], 1 for an event that counts; an item of the support is masked in the ranking, so its repeat
    counts 0."""
    bins: torch.Tensor
    """i64[b], the bin of the support's length."""
    rows: torch.Tensor
    """i64[b, 2], row of B for each membership; C is the parent."""
    memberships: torch.Tensor
    """f[b, 2]."""
    share: torch.Tensor
    """f[b], 1 / (episodes of the same user), so that every user counts once."""
    users: torch.Tensor
    """i64[b]."""

    def __len__(self) -> int:
        return len(self.bins)

    def take(self, rows: torch.Tensor) -> EpisodeTensors:
        """The given episodes, in that order."""
        return EpisodeTensors(*(getattr(self, field.name)[rows] for field in fields(self)))


def _padded(values: NDArray[Any], inside: NDArray[np.bool_]) -> NDArray[Any]:
    out = np.zeros(inside.shape, values.dtype)
    out[inside] = values
    return out


def episode_tensors(
    episodes: Episodes, memberships: Memberships, n_tasks: int, *, dtype: torch.dtype = torch.float32
) -> tuple[EpisodeTensors, NDArray[np.int64]]:
    """The tensors of the episodes that have a query event outside their support, and their rows i64[b']."""
    support, query = episodes.support, episodes.query
    row, n = _row_of(query), 1 + int(max(support.items.max(initial=0), query.items.max(initial=0)))
    repeated = np.isin(row * n + query.items, _row_of(support) * n + support.items)
    kept = np.unique(row[~repeated])
    return all_tensors(episodes.take(kept), memberships.take(kept), n_tasks, dtype=dtype), kept


def all_tensors(
    episodes: Episodes, memberships: Memberships, n_tasks: int, *, dtype: torch.dtype = torch.float32
) -> EpisodeTensors:
    """The tensors of every episode, also of those that have no query event to be judged by."""
    support, query = episodes.support, episodes.query
    in_support = np.arange(max(int(support.lengths.max(initial=0)), 1)) < support.lengths[:, None]  # [b, s]
    in_query = np.arange(max(int(query.lengths.max(initial=0)), 1)) < query.lengths[:, None]  # [b, q]
    items = _padded(support.items, in_support).astype(np.int64)
    targets = _padded(query.items, in_query).astype(np.int64)
    n = int(max(items.max(initial=0), targets.max(initial=0))) + 1
    row = np.arange(len(episodes))[:, None]
    repeated = np.isin(row * n + targets, (row * n + items)[in_support])
    ages = np.maximum(support.lengths[:, None] - 1 - np.arange(items.shape[1]), 0)
    tasks = memberships.tasks.astype(np.int64)
    _, users, repeats = np.unique(episodes.users, return_inverse=True, return_counts=True)
    tensor = torch.from_numpy
    return EpisodeTensors(
        support=tensor(items),
        support_weights=tensor(_padded(support.weights, in_support)).to(dtype),
        support_ages=tensor(ages),
        present=tensor(in_support),
        query=tensor(targets),
        query_weights=tensor(in_query & ~repeated).to(dtype),
        bins=tensor(np.searchsorted(BIN_EDGES, support.lengths, side="right")),
        rows=tensor(np.where(tasks < 0, n_tasks, tasks)),
        memberships=tensor(memberships.weights).to(dtype),
        share=tensor(1.0 / repeats[users]).to(dtype),
        users=tensor(users.astype(np.int64)),
    )


def _row_of(histories: Histories) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(histories)), histories.lengths)
