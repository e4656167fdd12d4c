"""Gates: how much each member of the stack counts at a given history length.

``g_j(k) = softplus(a_j + d_jl + b_j · log(1 + k))`` in band l of the lengths, fitted on validation episodes
by the cross-entropy of the query over the whole catalogue; d is drawn to 0, so that a band without people has
the smooth curve. `refine` looks at NDCG.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.recommender.episode_scores import (
    MEMBERS,
    PERSONAL,
    EpisodeScores,
    by_person,
    mean_and_error,
)
from metarec_sdk.recommender.popularity import BANDS, band_of
from metarec_sdk.types import Float32, State

_LEAST_PEOPLE = 20
_MULTIPLIERS = (0.0, 0.5, 0.75, 1.5, 3.0)
_ROUNDS = 3

_RIDGE = 1e-3
"""Pull of each coefficient to 0, in nats. By cross-validation over held-out people of seven logs, bands of
their own under a pull of 0.003 to 0.0003 rank better than the smooth curve or within a per cent."""


@dataclass(frozen=True)
class Gates:
    """Fitted gates of the members."""

    level: NDArray[np.float64]
    """f64[bands, members], a + d."""
    slope: NDArray[np.float64]
    """f64[members], b."""
    scale: NDArray[np.float64]
    """f64[bands, members], multiplies the softplus: one over the spread of the member's scores, times what
    the refinement on NDCG found for the band."""
    single: NDArray[np.int32]
    """i32[bands], the member that serves a band alone, or -1 for the stack."""

    def at(self, lengths: NDArray[Any]) -> Float32:
        """f32[b, members], the gates at history lengths i64[b]; at length 0 those of `PERSONAL` are 0."""
        band = np.maximum(band_of(lengths), 0)
        gates = _softplus(self.level[band] + self.slope * np.log1p(lengths)[:, None]) * self.scale[band]
        alone = self.single[band]
        guarded = alone >= 0
        gates[guarded] = np.eye(len(MEMBERS))[alone[guarded]]
        gates[np.ix_(np.asarray(lengths) == 0, PERSONAL)] = 0.0
        found: Float32 = gates.astype(np.float32)
        return found

    def state(self) -> State:
        """The arrays by name."""
        return {"level": self.level, "slope": self.slope, "scale": self.scale, "single": self.single}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Gates:
        """Take back what `state` gave."""
        return cls(state["level"], state["slope"], state["scale"], state["single"])


def fit_gates(scores: EpisodeScores) -> Gates:
    """Minimise the cross-entropy over (a, b, d) with L-BFGS; deterministic."""
    from scipy.optimize import minimize

    episodes, n_members = len(scores), len(MEMBERS)
    log_length = np.log1p(scores.support.lengths)  # [E]
    spread = np.array([np.mean(np.std(member, axis=1)) for member in scores.members])
    present = spread > 1e-9
    scale = np.where(present, 1.0 / np.maximum(spread, 1e-9), 0.0)
    row = np.repeat(np.arange(episodes), scores.query.lengths)
    query_size = scores.query.lengths
    on_query = np.stack(  # [E, members], mean member score on the query items
        [
            np.bincount(row, member[row, scores.query.items], episodes) / query_size
            for member in scores.members
        ],
        axis=1,
    )
    weight, bands = _episode_weights(scores), scores.bands

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, level, of_band = flat[:n_members], flat[n_members : 2 * n_members], flat[2 * n_members :]
        of_band = of_band.reshape(len(BANDS), n_members)
        inside = level + of_band[bands] + slope * log_length[:, None]  # [E, members]
        gate = _softplus(inside) * scale
        log_normaliser = np.empty(episodes)
        on_average = np.empty((episodes, n_members))  # of each member, under the softmax of the sum
        for rows in scores.blocks():
            logits = scores.combined(gate[rows], rows)  # [b, n]
            highest = logits.max(1)
            logits -= highest[:, None]
            probability = np.exp(logits, out=logits)
            normaliser = probability.sum(1)
            log_normaliser[rows] = highest + np.log(normaliser)
            for place, member in enumerate(scores.members):
                on_average[rows, place] = np.einsum("en,en->e", probability, member[rows]) / normaliser
        value = float(weight @ (log_normaliser - (gate * on_query).sum(1)))
        by_gate = weight[:, None] * (on_average - on_query) * scale / (1.0 + np.exp(-inside))  # [E, members]
        by_band = np.zeros((len(BANDS), n_members))
        np.add.at(by_band, bands, by_gate)
        gradient = np.concatenate([(by_gate * log_length[:, None]).sum(0), by_gate.sum(0), by_band.ravel()])
        return value + _RIDGE * float(flat @ flat), gradient + 2.0 * _RIDGE * flat

    start = np.concatenate([np.zeros(n_members), np.full(n_members, -0.5), np.zeros(len(BANDS) * n_members)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 60})
    slope, level = found.x[:n_members], found.x[n_members:].reshape(-1, n_members)
    return Gates(
        level[0] + level[1:], slope, np.tile(scale, (len(BANDS), 1)), np.full(len(BANDS), -1, np.int32)
    )


def cross_entropy(scores: EpisodeScores, gates: Gates) -> NDArray[np.float64]:
    """f64[E], mean negative log-likelihood of the query items over the catalogue without the support."""
    gate = gates.at(scores.support.lengths)
    parts = [_cross_entropy(scores, gate[rows], rows) for rows in scores.blocks()]
    return np.concatenate(parts) if parts else np.zeros(0)


def _cross_entropy(scores: EpisodeScores, gate: Float32, rows: slice) -> NDArray[np.float64]:
    logits = scores.combined(gate, rows).astype(np.float64)
    query = scores.query.take(rows)
    row = np.repeat(np.arange(len(query)), query.lengths)
    highest = logits.max(1)
    normaliser = highest + np.log(np.exp(logits - highest[:, None]).sum(1))
    found: NDArray[np.float64] = normaliser - np.bincount(row, logits[row, query.items], len(query)) / (
        query.lengths
    )
    return found


def _episode_weights(scores: EpisodeScores) -> NDArray[np.float64]:
    """f64[E] summing to 1: every band counts the same, every episode of a band the same."""
    bands = scores.bands
    counts = np.bincount(bands, minlength=len(BANDS))
    return 1.0 / (counts[bands] * np.count_nonzero(counts))


def refine(gates: Gates, scores: EpisodeScores) -> Gates:
    """Coordinate search, band by band, on the members' scales for validation NDCG@10.

    Cross-entropy judges the whole catalogue, a list only its head. A step is taken where it gains more than
    half a standard error of the paired difference, and only in bands of at least 20 people.
    """
    scale = gates.scale.copy()
    for band in np.unique(scores.bands):
        inside = scores.of_band(int(band))
        if len(np.unique(inside.users)) >= _LEAST_PEOPLE:
            scale[band] = _refined(gates.at(inside.support.lengths), inside) * scale[band]
    return replace(gates, scale=scale)


def _refined(start: Float32, scores: EpisodeScores) -> NDArray[np.float64]:
    """f64[members], what the gates of a band are to be multiplied by."""
    best = np.ones(len(MEMBERS))
    quality = scores.quality(start)
    for _ in range(_ROUNDS):
        taken = False
        for member in range(len(MEMBERS)):
            others = start * np.where(np.arange(len(MEMBERS)) == member, 0.0, best)
            multipliers = [factor for factor in _MULTIPLIERS if factor or others.any(1).all()]
            tried = scores.qualities(start * best, member, multipliers)
            gains = [mean_and_error(by_person(found - quality, scores.users)) for found in tried]
            place = int(np.argmax([gain for gain, _ in gains]))
            gain, error = gains[place]
            if gain > 0.5 * error:
                best[member] *= multipliers[place]
                quality, taken = tried[place], True
        if not taken:
            break
    return best


def _softplus(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.logaddexp(0.0, x)
