"""The gates that put a part's scores on the scale of logits, and losses that don't depend on that scale.

``logit_ui = g_b s_ui + a_b log p_i + c_b log p_i^(b)`` with one (g, a, c) a bin b of the support's length:
score, popularity and what people take at that position. The loss is convex in the gates, so Newton's
method finds them in a few passes; parts are compared after each has had its best gates, the gates fitted
on other users than those the loss is taken over.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from metarec_sdk.adapters.batch import N_BINS, EpisodeTensors
from metarec_sdk.adapters.catalogue_loss import Candidates, candidates, query_losses

Scorer = Callable[[torch.Tensor, EpisodeTensors, Candidates], torch.Tensor]
"""``scorer(rows i64[b], batch, candidates) -> f[b, c]``, the scores of the given rows of an episode set."""

_SMOOTHING = 500.0  # events' worth of overall popularity in the popularity of each bin
_RIDGE = 1.0  # nats: keeps the gates of a bin that has next to no data where they were
_BLOCK = 256


def log_popularity(episodes: EpisodeTensors, n_items: int) -> torch.Tensor:
    """f[1 + N_BINS, n]: log popularity over all query events, then of each bin, smoothed."""
    counts = torch.zeros(N_BINS, n_items, dtype=episodes.share.dtype)
    bins = episodes.bins[:, None].expand_as(episodes.query)
    weights = episodes.query_weights * episodes.share[:, None]
    counts.index_put_((bins, episodes.query), weights, accumulate=True)
    overall = counts.sum(0) + 1.0 / n_items
    overall = (overall + 0.1 * overall.sum() / n_items) / (1.1 * overall.sum())
    smooth = _SMOOTHING * overall
    by_bin = (counts + smooth) / (counts.sum(1, keepdim=True) + _SMOOTHING)
    return torch.log(torch.cat([overall[None], by_bin]))


def initial_gates(scale: float, dtype: torch.dtype) -> torch.Tensor:
    """f[N_BINS, 3]: the given gate on the score, half of each popularity."""
    return torch.tensor([[scale, 0.5, 0.5]], dtype=dtype).repeat(N_BINS, 1)


def gated(
    scores: torch.Tensor,
    popularity: torch.Tensor,
    gates: torch.Tensor,
    bins: torch.Tensor,
    chosen: Candidates,
) -> torch.Tensor:
    """The logits f[b, c] of scores f[b, c]."""
    gate = gates[bins]  # [b, 3]
    columns = chosen.columns(popularity)
    prior = gates[:, 1:2] * columns[:1] + gates[:, 2:] * columns[1:]  # [N_BINS, c]
    return gate[:, :1] * scores + prior[bins]


def fit_gates(
    scorer: Scorer,
    episodes: EpisodeTensors,
    popularity: torch.Tensor,
    start: torch.Tensor,
    *,
    rows: torch.Tensor | None = None,
    steps: int = 6,
    seed: int = 0,
) -> torch.Tensor:
    """f[N_BINS, 3], the gates of least loss over the given rows; a bin without data keeps its start."""
    rows = torch.arange(len(episodes)) if rows is None else rows
    gates = start.clone()
    with torch.no_grad():
        for _ in range(steps):
            gradient = _RIDGE * (gates - start)
            hessian = _RIDGE * torch.eye(3, dtype=gates.dtype).repeat(N_BINS, 1, 1)
            generator = torch.Generator().manual_seed(seed)
            for block in rows.split(_BLOCK):
                batch = episodes.take(block)
                chosen = candidates(batch, popularity.shape[1], generator)
                scores = scorer(block, batch, chosen)
                first, second = _derivatives(scores, popularity, gates, batch, chosen)
                gradient.index_add_(0, batch.bins, first)
                hessian.index_add_(0, batch.bins, second)
            step = torch.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
            # Newton's step can overshoot far from the optimum; gates live within a few units of their start.
            limit = 2.0 * (start.abs() + 0.5)
            gates = gates - step.clamp(-limit, limit)
            if step.abs().max() < 1e-3:
                break
    return gates


def _derivatives(
    scores: torch.Tensor,
    popularity: torch.Tensor,
    gates: torch.Tensor,
    batch: EpisodeTensors,
    chosen: Candidates,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per episode: gradient f[b, 3] and Hessian f[b, 3, 3] of its loss in its gates."""
    columns = chosen.columns(popularity)
    logits = gated(scores, popularity, gates, batch.bins, chosen)
    if chosen.log_weights is not None:
        logits += chosen.log_weights
    logits[chosen.masked] = -torch.inf
    probability = torch.softmax(logits, 1)  # [b, c]
    features = (scores, columns[:1].expand_as(scores), columns[1:][batch.bins])
    mean = torch.stack([(probability * feature).sum(1) for feature in features], 1)  # [b, 3]
    target = torch.stack([feature.gather(1, chosen.query) for feature in features], 2)  # [b, q, 3]
    moment = torch.stack(
        [torch.stack([(probability * one * two).sum(1) for two in features], 1) for one in features], 1
    )
    weights = batch.query_weights
    gradient = (weights[:, :, None] * (mean[:, None] - target)).sum(1)
    hessian = weights.sum(1)[:, None, None] * (moment - mean[:, :, None] * mean[:, None])
    return gradient, hessian


def calibrated_losses(
    scorer: Scorer, episodes: EpisodeTensors, popularity: torch.Tensor, start: torch.Tensor, *, seed: int = 0
) -> torch.Tensor:
    """f[b], mean loss in nats per query event of each episode, under gates fitted on the other half of the
    users. The halves and, for a large catalogue, the sampled items are fixed by the seed."""
    losses = torch.zeros(len(episodes), dtype=start.dtype)
    generator = torch.Generator().manual_seed(seed)
    n_users = int(episodes.users.max()) + 1
    half = torch.randperm(n_users, generator=generator)[episodes.users] % 2
    for side in (0, 1):
        other, own = (half != side).nonzero()[:, 0], (half == side).nonzero()[:, 0]
        gates = fit_gates(scorer, episodes, popularity, start, rows=other, seed=seed)
        losses[own] = mean_losses(scorer, episodes, popularity, gates, rows=own, seed=seed)
    return losses


def mean_losses(
    scorer: Scorer,
    episodes: EpisodeTensors,
    popularity: torch.Tensor,
    gates: torch.Tensor,
    *,
    rows: torch.Tensor | None = None,
    seed: int = 0,
) -> torch.Tensor:
    """f[rows], mean loss in nats per query event of each episode under the given gates."""
    rows = torch.arange(len(episodes)) if rows is None else rows
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.zeros(0, dtype=gates.dtype)]
    with torch.no_grad():
        for block in rows.split(_BLOCK):
            batch = episodes.take(block)
            chosen = candidates(batch, popularity.shape[1], generator)
            logits = gated(scorer(block, batch, chosen), popularity, gates, batch.bins, chosen)
            parts.append(query_losses(logits, batch, chosen) / batch.query_weights.sum(1))
    return torch.cat(parts)
