"""From exact candidates to the list that is shown: the hard rule, the reranker, and the rule once more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from metarec_sdk.errors import PluginError
from metarec_sdk.plugins.fallback import answered
from metarec_sdk.protocols import Reranker, Rule
from metarec_sdk.ranking import MAX_K
from metarec_sdk.types import Bool, Float32, Histories, TopK

DEPTH = 4
"""Candidates for each place of the list that a reranker or a rule gets to see at first."""
LEAST = 50
"""Candidates at least."""


@dataclass(frozen=True)
class Shaping:
    """The chosen reranker and rule; without either, the exact top-k is the list."""

    reranker: Reranker | None = None
    rule: Rule | None = None

    def fit(self, items: pl.DataFrame, vectors: Float32) -> Shaping:
        """Show both the catalogue: its table of n rows, and what the stack knows of each item, f32[n, d]."""
        for component in (self.reranker, self.rule):
            if component is not None:
                component.fit(items, vectors)
        return self

    def rank(self, exact: Callable[[int], TopK], histories: Histories, k: int, n: int) -> TopK:
        """The lists of b histories; ``exact(depth)`` gives the best ``depth`` candidates of n items.

        Where the rule forbids so much that a list isn't filled, more candidates are looked at, down to the
        last. A reranker of a plugin that fails leaves the exact order; a rule that fails raises, because an
        unchecked list mustn't be shown.
        """
        if self.reranker is None and self.rule is None:
            return exact(k)
        most = min(n, MAX_K)
        depth = min(max(DEPTH * k, LEAST), most)
        while True:
            candidates = exact(depth)
            found = np.diff(candidates.offsets)
            allowed = self._allowed(histories, candidates)
            kept = np.diff(allowed.offsets)
            if depth == most or not ((kept < k) & (found == depth)).any():
                break
            depth = min(DEPTH * depth, most)
        ranked = self._reranked(histories, allowed, k)
        checked = self._allowed(histories, ranked)
        if len(checked.items) < len(ranked.items) and self.reranker is None:
            raise PluginError("the rule forbids part of a list that it has just allowed; see Rule.forbidden")
        return checked

    def _allowed(self, histories: Histories, candidates: TopK) -> TopK:
        if self.rule is None:
            return candidates
        return kept(candidates, ~self.rule.forbidden(histories, candidates))

    def _reranked(self, histories: Histories, candidates: TopK, k: int) -> TopK:
        if self.reranker is None:
            return best(candidates, candidates.scores, k)
        reranker = self.reranker
        scores = answered(
            reranker, lambda: reranker.rescore(histories, candidates, k), lambda: candidates.scores
        )
        return best(candidates, scores, k)


def kept(lists: TopK, chosen: Bool) -> TopK:
    """The lists with the chosen entries only."""
    before = np.concatenate([[0], np.cumsum(chosen)]).astype(np.int64)
    return TopK(before[lists.offsets], lists.items[chosen], lists.scores[chosen])


def best(candidates: TopK, scores: Float32, k: int) -> TopK:
    """The k best of each row by new scores, ties in the old order; a score of -inf leaves one out."""
    lengths = np.diff(candidates.offsets)
    rows = np.repeat(np.arange(len(candidates)), lengths)
    order = np.lexsort((-scores, rows))
    place = np.arange(len(rows)) - np.repeat(candidates.offsets[:-1], lengths)
    ordered = TopK(candidates.offsets, candidates.items[order], np.asarray(scores[order], np.float32))
    return kept(ordered, (place < k) & (ordered.scores > -np.inf))
