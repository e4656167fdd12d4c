"""Diverse lists: maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998)."""

from __future__ import annotations

import numpy as np
import polars as pl

from metarec_sdk.errors import ArgumentError, NotFittedError
from metarec_sdk.types import Float32, Histories, TopK


class MMR:
    """Takes, one after the other, the candidate with the best ``λ·relevance − (1 − λ)·similarity``.

    Relevance is the candidate's score on a scale from 0 to 1 within its list, similarity the largest cosine
    with what was taken before. λ = 1 leaves the order as it is.
    """

    def __init__(self, *, relevance: float = 0.7) -> None:
        """relevance: λ from 0 to 1."""
        if not 0.0 <= relevance <= 1.0:
            raise ArgumentError(f"relevance must be from 0 to 1, got {relevance}")
        self.relevance = relevance
        self._unit: Float32 | None = None

    def fit(self, items: pl.DataFrame, vectors: Float32) -> None:
        """Keep the directions of vectors f32[n, d]."""
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._unit = np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)

    def rescore(self, histories: Histories, candidates: TopK, k: int) -> Float32:
        """f32[o], marginal relevance when taken; -inf for a candidate that isn't among the k taken."""
        if self._unit is None:
            raise NotFittedError("mmr isn't fitted; call fit(items, vectors) first")
        scores = np.full(len(candidates.items), -np.inf, np.float32)
        for start, stop in zip(candidates.offsets[:-1], candidates.offsets[1:]):
            if stop > start:
                unit = self._unit[candidates.items[start:stop]]  # [c, d]
                scores[start:stop] = self._one_list(candidates.scores[start:stop], unit, k)
        return scores

    def _one_list(self, relevance: Float32, unit: Float32, k: int) -> Float32:
        low, high = float(relevance.min()), float(relevance.max())
        gain = self.relevance * (relevance - low) / max(high - low, 1e-12)
        closest: Float32 | None = None  # similarity to what was taken; none yet
        taken = np.full(len(gain), -np.inf, np.float32)
        left = np.zeros(len(gain), np.float32)
        worth = np.inf
        for _ in range(min(k, len(gain))):
            marginal = gain + left if closest is None else gain - (1.0 - self.relevance) * closest + left
            best = int(np.argmax(marginal))
            # The second item may have a negative cosine with the first and so a larger marginal; a score that
            # never rises keeps the order of taking.
            worth = min(worth, float(marginal[best]))
            taken[best] = np.float32(worth)
            left[best] = -np.inf
            cosine = unit @ unit[best]
            closest = cosine if closest is None else np.maximum(closest, cosine)
        return taken
