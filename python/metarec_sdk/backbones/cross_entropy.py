"""Cross-entropy over a catalogue that never holds all the logits.

For positions p with hidden state h_p, target t_p and weight ω_p, and items e_i:

    L = Σ_p ω_p · ( log Σ_i exp(h_p·e_i) − h_p·e_{t_p} )
    ∂L/∂h_p = ω_p · ( Σ_i π_pi e_i − e_{t_p} ),   ∂L/∂e_i = Σ_p ω_p ( π_pi − [i = t_p] ) h_p,   π = softmax

Plain autograd writes the [positions, n] logits several times over. Here a chunk of positions is scored,
turned into probabilities in place and used for both gradients at once, while it is still in the cache; the
backward pass only scales what was stored.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_CHUNK_POSITIONS = 256
_CACHED_LOGITS = 2**20
"""On a CPU a chunk holds about so many logits (4 MB), within 64 … 256 positions: it stays in the cache. Of
64, 128, 256 and 512 positions 256 were the fastest at 3,706 items."""
_DEVICE_LOGITS = 2**26
"""On a GPU a chunk holds so many (256 MB): enough to fill it."""


def catalogue_cross_entropy(
    hidden: Tensor,
    items: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    negatives: Tensor | None = None,
    low_precision: torch.dtype | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Σ_p ω_p · CE_p in nats, a scalar that is differentiable once in ``hidden`` and ``items``.

    ``hidden`` [p, d], ``items`` [n, d], ``targets`` int64[p], ``weights`` [p], all on one device. With
    ``negatives`` int64[s] (distinct items, drawn uniformly) the sum over the other n − 1 items is estimated
    from these alone, each standing for (n − 1) / s items; with s = n it is exact. ``low_precision`` is the
    dtype of the matrix products (``torch.bfloat16``); sums, exponentials and accumulated gradients keep the
    dtype of ``hidden``. ``chunk`` positions are scored at a time; ``None`` picks by device and catalogue.
    """
    if chunk is None:
        chunk = _chunk_positions(len(items) if negatives is None else len(negatives), hidden.device)
    loss: Tensor = _CatalogueCrossEntropy.apply(
        hidden, items, targets, weights, negatives, low_precision, chunk
    )
    return loss


def _chunk_positions(candidates: int, device: torch.device) -> int:
    if device.type == "cpu":
        return min(_CHUNK_POSITIONS, max(_CHUNK_POSITIONS // 4, _CACHED_LOGITS // candidates))
    return max(_CHUNK_POSITIONS, _DEVICE_LOGITS // candidates)


class _CatalogueCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        items: Tensor,
        targets: Tensor,
        weights: Tensor,
        negatives: Tensor | None,
        low_precision: torch.dtype | None,
        chunk: int,
    ) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            loss, hidden_gradient, item_gradient = _loss_and_gradients(
                hidden.detach(), items.detach(), targets, weights, negatives, low_precision, chunk
            )
        ctx.save_for_backward(hidden_gradient, item_gradient)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, item_gradient = ctx.saved_tensors
        (scale,) = gradients
        return hidden_gradient * scale, item_gradient * scale, None, None, None, None, None


def _loss_and_gradients(
    hidden: Tensor,
    items: Tensor,
    targets: Tensor,
    weights: Tensor,
    negatives: Tensor | None,
    low_precision: torch.dtype | None,
    chunk: int,
) -> tuple[Tensor, Tensor, Tensor]:
    n = len(items)
    candidates = items if negatives is None else items[negatives]  # [s, d], s = n without sampling
    product_dtype = low_precision or hidden.dtype
    factors = candidates.to(product_dtype)
    column_of_item = None
    if negatives is not None:
        column_of_item = torch.full((n,), -1, dtype=torch.int64, device=hidden.device)
        column_of_item[negatives] = torch.arange(len(negatives), device=hidden.device)

    loss = hidden.new_zeros(())
    hidden_gradient = torch.empty_like(hidden)
    candidate_gradient = torch.zeros_like(candidates)
    target_pull = torch.empty_like(weights)  # [p], ω (π_target − 1)
    buffer = torch.empty(
        (min(chunk, len(hidden)), len(candidates)), dtype=product_dtype, device=hidden.device
    )
    for start in range(0, len(hidden), chunk):
        rows = slice(start, start + chunk)
        h, weight, target = hidden[rows], weights[rows, None], targets[rows]
        scores = torch.mm(h.to(product_dtype), factors.T, out=buffer[: len(h)]).to(hidden.dtype)  # [c, s]
        if column_of_item is None:
            target_score = scores.gather(1, target[:, None])  # [c, 1]
            peak = scores.amax(1, keepdim=True)
            total = scores.sub_(peak).exp_().sum(1, keepdim=True)
            target_pull[rows] = -weight[:, 0]  # π_target is already in `scores`
        else:
            target_score = (h * items[target]).sum(1, keepdim=True)
            hits = _silence_targets(scores, column_of_item[target])
            scores.add_(torch.log((n - 1) / (len(candidates) - hits).clamp(min=1.0)))
            peak = torch.maximum(scores.amax(1, keepdim=True), target_score)
            target_mass = (target_score - peak).exp()
            total = scores.sub_(peak).exp_().sum(1, keepdim=True) + target_mass
            target_pull[rows] = (weight * (target_mass / total - 1))[:, 0]
        loss += (weight * (total.log() + peak - target_score)).sum()
        scale = weight / total
        masses = scores.to(product_dtype)
        hidden_gradient[rows] = torch.mm(masses, factors).to(hidden.dtype) * scale
        pulled = (h * scale).to(product_dtype)  # [c, d]
        if product_dtype == hidden.dtype:
            candidate_gradient.addmm_(masses.T, pulled)
        else:
            candidate_gradient.add_(torch.mm(masses.T, pulled))

    pull = target_pull[:, None]
    hidden_gradient.addcmul_(items[targets], pull)
    if negatives is None:
        item_gradient = candidate_gradient
    else:
        item_gradient = torch.zeros_like(items).index_copy_(0, negatives, candidate_gradient)
    item_gradient.index_add_(0, targets, hidden * pull)
    return loss, hidden_gradient, item_gradient


def _silence_targets(scores: Tensor, columns: Tensor) -> Tensor:
    """Give a target that was drawn as a negative no mass; [c, 1], 1.0 where that happened."""
    hits = columns >= 0
    rows = hits.nonzero()[:, 0]
    scores[rows, columns[rows]] = -math.inf
    return hits.to(scores.dtype)[:, None]
