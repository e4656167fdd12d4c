"""Cross-entropy of an episode's query over the catalogue, its support masked.

Up to `FULL_CATALOGUE` items the sum runs over all of them. Beyond, it runs over every query item of the
batch and uniformly sampled others, whose terms are weighted up to stand for the rest:
``Z ≈ Σ_{i ∈ Q} e^{s_i} + (n − |Q|)/M · Σ_{i ∈ M} e^{s_i}``, unbiased for Z (Bengio & Senécal 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from metarec_sdk.adapters.batch import EpisodeTensors

FULL_CATALOGUE = 50_000
NEGATIVES = 4_096
_CUT = 10


@dataclass(frozen=True)
class Candidates:
    """The items that a batch is ranked over."""

    items: torch.Tensor | None
    """i64[c] ascending, or None for the whole catalogue."""
    log_weights: torch.Tensor | None
    """f[c], log of how many items each stands for, or None where each stands for itself."""
    query: torch.Tensor
    """i64[b, q], places of the query items among the candidates."""
    masked: tuple[torch.Tensor, torch.Tensor]
    """(row, place) of the support items among the candidates."""

    def of(self, table: torch.Tensor) -> torch.Tensor:
        """The candidates' rows of an item table [n, …]."""
        return table if self.items is None else table[self.items]

    def columns(self, table: torch.Tensor) -> torch.Tensor:
        """The candidates' columns of a table [rows, n]."""
        return table if self.items is None else table[:, self.items]


def candidates(batch: EpisodeTensors, n_items: int, generator: torch.Generator) -> Candidates:
    """The whole catalogue, or a sample of it where it is large."""
    row, place = batch.present.nonzero(as_tuple=True)
    support = batch.support[row, place]
    if n_items <= FULL_CATALOGUE:
        return Candidates(None, None, batch.query, (row, support))
    exact = torch.unique(batch.query[batch.query_weights > 0])
    sampled = torch.unique(torch.randint(n_items, (NEGATIVES,), generator=generator))
    sampled = sampled[~torch.isin(sampled, exact)]
    items, order = torch.sort(torch.cat([exact, sampled]))
    log_weights = torch.zeros(len(items), dtype=batch.share.dtype)
    log_weights[len(exact) :] = torch.log(torch.tensor((n_items - len(exact)) / max(len(sampled), 1)))
    found = torch.searchsorted(items, support).clamp(max=len(items) - 1)
    hit = items[found] == support
    query = torch.searchsorted(items, batch.query).clamp(max=len(items) - 1)
    return Candidates(items, log_weights[order], query, (row[hit], found[hit]))


def query_losses(logits: torch.Tensor, batch: EpisodeTensors, chosen: Candidates) -> torch.Tensor:
    """f[b], ``Σ_q ω_q (log Σ_i e^{s_i} − s_q)`` of logits [b, c]."""
    target = logits.gather(1, chosen.query)  # [b, q]
    weighted = logits if chosen.log_weights is None else logits + chosen.log_weights
    weighted = weighted.index_put(chosen.masked, torch.tensor(-torch.inf, dtype=logits.dtype))
    total = torch.logsumexp(weighted, 1)  # [b]
    return (batch.query_weights * (total[:, None] - target)).sum(1)


def query_ndcg(logits: torch.Tensor, batch: EpisodeTensors, chosen: Candidates) -> torch.Tensor:
    """f[b], NDCG@10 of the query among the candidates of logits [b, c], the support masked."""
    ranked = logits.index_put(chosen.masked, torch.tensor(-torch.inf, dtype=logits.dtype))
    best = ranked.topk(min(_CUT, ranked.shape[1]), dim=1).indices  # [b, 10]
    counts = batch.query_weights > 0
    hits = ((best[:, :, None] == chosen.query[:, None]) & counts[:, None]).any(2).to(logits.dtype)
    discount = 1 / torch.log2(torch.arange(2, _CUT + 2, dtype=logits.dtype))
    wanted = counts.sum(1).clamp(min=1, max=_CUT)
    return (hits * discount[: hits.shape[1]]).sum(1) / discount.cumsum(0)[wanted - 1]
