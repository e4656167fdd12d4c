"""The gates that put a part's scores on the scale of logits, and losses that don't depend on that scale.

``logit_ui = g_b s_ui + a_b log p_i + c_b log p_i^(b)`` with one (g, a, c) a bin b of the support's length:
score, popularity and what people take at that position. The loss is convex in the gates, so Newton's
method finds them in a few passes; parts are compared after each has had its best gates, the gates fitted
on other users than those the loss is taken over.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from metarec_sdk.adapters.acceptance import Verdict
from metarec_sdk.adapters.batch import N_BINS, EpisodeTensors
from metarec_sdk.adapters.catalogue_loss import Candidates, candidates, query_losses, query_ndcg

Scorer = Callable[[torch.Tensor, EpisodeTensors, Candidates], torch.Tensor]
"""``scorer(rows i64[b], batch, candidates) -> f[b, c]``, the scores of the given rows of an episode set."""

_SMOOTHING = 500.0  # events' worth of overall popularity in the popularity of each bin
_RIDGE = 1.0  # nats, in units of each gate: keeps a bin that has next to no data near the start
_TOLERANCE = 2e-4  # of the loss, between two steps
_BLOCK = 256


def vector_scorer(vectors: torch.Tensor, table: torch.Tensor) -> Scorer:
    """Scores of users whose vectors f[b, d] are at hand, over an item table f[n, d]."""
    return lambda rows, batch, chosen: vectors[rows] @ chosen.of(table).T


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
    *,
    rows: torch.Tensor | None = None,
    guess: torch.Tensor | None = None,
    steps: int = 12,
    seed: int = 0,
) -> torch.Tensor:
    """f[N_BINS, 3], the gates of least loss over the given rows.

    They start at half: of scores of unit deviation over the catalogue and of each popularity, where a bin
    without data stays; a guess that is near the answer saves steps. Newton's method with a damping of each
    bin's own (Levenberg 1944): a step that raises the loss of its bin is taken back and the damping grows.
    """
    rows = torch.arange(len(episodes)) if rows is None else rows
    units = _units(scorer, episodes, popularity, rows, seed)
    start = units * torch.tensor([[0.5, 0.5, 0.5]], dtype=units.dtype).expand(N_BINS, 3)
    tried = start if guess is None else guess
    gates = tried.clone()
    best = torch.full((N_BINS,), torch.inf, dtype=start.dtype)
    damping = torch.ones(N_BINS, dtype=start.dtype)
    settled = torch.zeros(N_BINS, dtype=torch.bool)
    gradient = torch.zeros_like(start)
    hessian = torch.zeros(N_BINS, 3, 3, dtype=start.dtype)
    eye = torch.eye(3, dtype=start.dtype)
    for _ in range(steps):
        loss, first, second = _totals(scorer, episodes, popularity, tried, rows, seed)
        away = (tried - start) / units
        loss = loss + 0.5 * _RIDGE * away.square().sum(1)
        first = first + _RIDGE * away / units
        second = second + torch.diag(_RIDGE / units.square())
        better = loss < best
        settled |= (best - loss).abs() < _TOLERANCE * loss + 1e-9
        gates = torch.where(better[:, None], tried, gates)
        gradient = torch.where(better[:, None], first, gradient)
        hessian = torch.where(better[:, None, None], second, hessian)
        best = torch.where(better, loss, best)
        damping = torch.where(better, damping * 0.1, damping * 8)
        if (settled | (damping > 1e3)).all():
            break
        scale = hessian.diagonal(dim1=1, dim2=2)[:, :, None] * eye
        step = torch.linalg.solve(hessian + damping[:, None, None] * scale, gradient[:, :, None])
        tried = gates - step[:, :, 0]
    return gates


def _totals(
    scorer: Scorer,
    episodes: EpisodeTensors,
    popularity: torch.Tensor,
    gates: torch.Tensor,
    rows: torch.Tensor,
    seed: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Loss f[N_BINS], gradient f[N_BINS, 3] and Hessian f[N_BINS, 3, 3] of each bin."""
    loss = torch.zeros(N_BINS, dtype=gates.dtype)
    gradient = torch.zeros(N_BINS, 3, dtype=gates.dtype)
    hessian = torch.zeros(N_BINS, 3, 3, dtype=gates.dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for block in torch.split(rows, _BLOCK):
            batch = episodes.take(block)
            chosen = candidates(batch, popularity.shape[1], generator)
            parts = _derivatives(scorer(block, batch, chosen), popularity, gates, batch, chosen)
            for total, part in zip((loss, gradient, hessian), parts):
                total.index_add_(0, batch.bins, part)
    return loss, gradient, hessian


def _units(
    scorer: Scorer, episodes: EpisodeTensors, popularity: torch.Tensor, rows: torch.Tensor, seed: int
) -> torch.Tensor:
    """f[3], what counts as one for each gate: for the score the inverse of its deviation over the items."""
    units = torch.ones(3, dtype=popularity.dtype)
    block = rows[:_BLOCK]
    if len(block):
        batch = episodes.take(block)
        chosen = candidates(batch, popularity.shape[1], torch.Generator().manual_seed(seed))
        with torch.no_grad():
            spread = scorer(block, batch, chosen).std(1)
        if (spread > 0).any():  # all scores are 0 where nobody has a history
            units[0] = 1 / spread[spread > 0].mean()
    return units


def _derivatives(
    scores: torch.Tensor,
    popularity: torch.Tensor,
    gates: torch.Tensor,
    batch: EpisodeTensors,
    chosen: Candidates,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per episode: its loss f[b], and the gradient f[b, 3] and Hessian f[b, 3, 3] of that in its gates."""
    logits = gated(scores, popularity, gates, batch.bins, chosen)
    target_logit = logits.gather(1, chosen.query)
    if chosen.log_weights is not None:
        logits += chosen.log_weights
    logits[chosen.masked] = -torch.inf
    total = torch.logsumexp(logits, 1, keepdim=True)  # [b, 1]
    probability = logits.sub_(total).exp_()  # [b, c]
    weights = batch.query_weights
    loss = (weights * (total - target_logit)).sum(1)

    # Popularity is shared by all rows (or all of a bin), so its moments are products with a few columns.
    columns = chosen.columns(popularity)
    overall, by_bin = columns[0], columns[1:]
    own = torch.arange(len(batch)), batch.bins
    weighted = probability * scores
    s, o = weighted.sum(1), probability @ overall
    t = (probability @ by_bin.T)[own]
    ss, so, st = (weighted * scores).sum(1), weighted @ overall, (weighted @ by_bin.T)[own]
    oo = probability @ overall.square()
    ot, tt = (probability @ (overall * by_bin).T)[own], (probability @ by_bin.square().T)[own]
    mean = torch.stack([s, o, t], 1)  # [b, 3]
    moment = torch.stack([ss, so, st, so, oo, ot, st, ot, tt], 1).reshape(-1, 3, 3)

    target = torch.stack(
        [scores.gather(1, chosen.query), overall[chosen.query], by_bin[batch.bins[:, None], chosen.query]], 2
    )  # [b, q, 3]
    gradient = (weights[:, :, None] * (mean[:, None] - target)).sum(1)
    hessian = weights.sum(1)[:, None, None] * (moment - mean[:, :, None] * mean[:, None])
    return loss, gradient, hessian


def calibrated(
    scorer: Scorer, episodes: EpisodeTensors, popularity: torch.Tensor, *, seed: int = 0
) -> Verdict:
    """How good each episode's ranking is under gates fitted on the other half of the users.

    The halves and, for a large catalogue, the sampled items are fixed by the seed.
    """
    losses, ndcg = torch.zeros(2, len(episodes), dtype=popularity.dtype)
    generator = torch.Generator().manual_seed(seed)
    n_users = int(episodes.users.max()) + 1
    half = torch.randperm(n_users, generator=generator)[episodes.users] % 2
    for side in (0, 1):
        other, own = (half != side).nonzero()[:, 0], (half == side).nonzero()[:, 0]
        gates = fit_gates(scorer, episodes, popularity, rows=other, seed=seed)
        found = judge(scorer, episodes, popularity, gates, rows=own, seed=seed)
        losses[own], ndcg[own] = found.losses, found.ndcg
    return Verdict(losses, ndcg, episodes.users)


def judge(
    scorer: Scorer,
    episodes: EpisodeTensors,
    popularity: torch.Tensor,
    gates: torch.Tensor,
    *,
    rows: torch.Tensor | None = None,
    seed: int = 0,
) -> Verdict:
    """How good each given episode's ranking is under the given gates."""
    rows = torch.arange(len(episodes)) if rows is None else rows
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.zeros(2, 0, dtype=gates.dtype)]
    with torch.no_grad():
        for block in torch.split(rows, _BLOCK):
            batch = episodes.take(block)
            chosen = candidates(batch, popularity.shape[1], generator)
            logits = gated(scorer(block, batch, chosen), popularity, gates, batch.bins, chosen)
            losses = query_losses(logits, batch, chosen) / batch.query_weights.sum(1)
            parts.append(torch.stack([losses, query_ndcg(logits, batch, chosen)]))
    losses, ndcg = torch.cat(parts, 1)
    return Verdict(losses, ndcg, episodes.users[rows])
