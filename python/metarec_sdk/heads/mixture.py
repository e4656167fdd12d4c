"""Popularity within soft groups of people: a mixture of multinomials, entered through the history alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from metarec_sdk import _core
from metarec_sdk.heads.native_errors import native_errors
from metarec_sdk.heads.whitening import smoothed_popularity
from metarec_sdk.types import Float32, Float64, Histories, Int32, TrainingLog

_STARTING_WIDTH = 16
"""Singular vectors that the groups are found in before the likelihood refines them."""


_PRIOR_PEOPLE = 20.0
"""People at everybody's shares that the shares of a segment are shrunk by."""

TRACE = 1e-6
"""Events added to every item, so that all of them have a logarithm."""


@dataclass(frozen=True)
class PopularityMixture:
    """Groups of people with a popularity each: ``P(i | u) = Σ_c π_uc p_c(i)``.

    ``π_uc ∝ π_c (Π_j p_c(j))^sharpness`` over the events j of a history (Hofmann & Puzicha 1999,
    "Latent class models for collaborative filtering", with multinomial classes). Where people are in known
    segments s (a country, a gender), π_c|s takes the place of π_c (concomitant variables; Dayton & Macready
    1988, "Concomitant-variable latent-class models"): it says most before the first event and fades behind
    a history.
    """

    lift: Float32
    """f32[n, C], ``log p_c(i) / p(i)`` in nats: what being in a group adds to an item."""
    log_weight: Float64
    """f64[C], log π_c."""
    sharpness: float = 1.0
    """Multiplies the log-likelihood of a history: below 1, many events don't make one group certain."""
    log_segment: Float64 = field(default_factory=lambda: np.zeros((0, 0)))
    """f64[S, C], log π_c|s of each segment; no rows without segments."""

    @classmethod
    def fit(
        cls,
        log: TrainingLog,
        groups: int,
        rng: np.random.Generator,
        *,
        segments: Int32 | None = None,
        prior_events: float = 200.0,
        sharpness: float = 1.0,
        rounds: int = 10,
    ) -> PopularityMixture:
        """Expectation-maximisation, started by k-means on the people's singular vectors.

        Args:
            log: the histories; every event counts alike.
            groups: C ≥ 1; at most half as many as there are people.
            rng: starts the search; the same log and seed give the same groups.
            segments: i32[u], the known segment of each person, -1 for unknown; the groups are the same with
                and without.
            prior_events: how many events at the overall popularity each group is shrunk by.
            sharpness: see there.
            rounds: of the algorithm.
        """
        visits = visits_of(log.histories, log.n_items)
        overall = smoothed_popularity(log, TRACE)
        groups = max(1, min(groups, len(log) // 2))
        membership = _start(visits, groups, rng)  # [u, C]
        for _ in range(rounds):
            share, weight = _maximise(visits, membership, overall, prior_events)
            membership = responsibilities(sharpness * (visits @ np.log(share).T), np.log(weight))
        share, weight = _maximise(visits, membership, overall, prior_events)
        lift = np.log(share / overall).T
        lift = np.ascontiguousarray(lift, np.float32)
        if segments is None:
            return cls(lift, np.log(weight), sharpness)
        return cls(lift, np.log(weight), sharpness, _log_segment(membership, weight, segments))

    def memberships(self, histories: Histories, segments: Int32 | None = None) -> Float32:
        """f32[b, C], π_u of each history, rows sum to 1; an empty history gets the prior of its segment.

        ``segments`` i32[b] are those of the people, -1 for unknown and for those that the fit had nobody of.

        Raises `ArgumentError` for items outside the catalogue.
        """
        each = np.ones(len(histories.items), np.float32)
        with native_errors():
            log_likelihood, _ = self._sums.state(histories.offsets, histories.items, each)
        found = responsibilities(self.sharpness * log_likelihood, self._prior(segments))
        return np.ascontiguousarray(found, np.float32)

    def _prior(self, segments: Int32 | None) -> Float64:
        """f64[C], or f64[b, C] of people in segments."""
        if segments is None or not len(self.log_segment):
            return self.log_weight
        known = (segments >= 0) & (segments < len(self.log_segment))
        place = np.where(known, segments, 0)
        return np.where(known[:, None], self.log_segment[place], self.log_weight)

    @cached_property
    def _sums(self) -> _core.NatparTable:
        """Adds rows of the lift up: the additive state of `Natpar` over another table."""
        with native_errors():
            return _core.NatparTable(self.lift)

    def extended(self, n_items: int) -> PopularityMixture:
        """The same groups over a catalogue that has grown: to them a new item is like to everybody."""
        grown = np.pad(self.lift, [(0, n_items - len(self.lift)), (0, 0)])
        return replace(self, lift=grown)


def visits_of(histories: Histories, n_items: int) -> Any:
    """scipy CSR f64[b, n] of events."""
    from scipy.sparse import csr_matrix

    shape = (len(histories), n_items)
    return csr_matrix((np.ones(len(histories.items)), histories.items, histories.offsets), shape)


def responsibilities(log_likelihood: Float64, log_weight: Float64) -> Float64:
    """f64[b, C], the normalised product of likelihoods f64[b, C] and prior weights f64[C] or f64[b, C], given
    as logs."""
    logits = log_likelihood + log_weight
    logits -= logits.max(1, keepdims=True)
    found: Float64 = np.exp(logits)
    found /= found.sum(1, keepdims=True)
    return found


def _log_segment(membership: Float64, weight: Float64, segments: Int32) -> Float64:
    """f64[S, C], log shares of the groups within each segment, shrunk towards everybody's."""
    known = segments >= 0
    people = np.zeros((int(segments.max(initial=-1)) + 1, len(weight)))
    np.add.at(people, segments[known], membership[known])
    shares = (people + _PRIOR_PEOPLE * weight) / (people.sum(1, keepdims=True) + _PRIOR_PEOPLE)
    found: Float64 = np.log(shares)
    return found


def _start(visits: Any, groups: int, rng: np.random.Generator) -> Float64:
    """Hard memberships f64[u, C] by k-means on normalised singular vectors."""
    from scipy.sparse.linalg import svds
    from sklearn.cluster import KMeans

    width = min(_STARTING_WIDTH, min(visits.shape) - 1)
    if groups == 1 or width < 1:
        return np.ones((visits.shape[0], 1))
    length = np.sqrt(np.maximum(visits.sum(1), 1.0))
    scaled = visits.multiply(1.0 / np.asarray(length).reshape(-1, 1)).tocsr()
    left, values, _ = svds(scaled, k=width, v0=rng.random(min(visits.shape)))
    kmeans = KMeans(groups, n_init=2, random_state=int(rng.integers(2**31)))
    labels = kmeans.fit_predict(left * values)
    memberships: Float64 = np.eye(groups)[labels]
    return memberships


def _maximise(
    visits: Any, membership: Float64, overall: Float64, prior_events: float
) -> tuple[Float64, Float64]:
    """Popularity within groups f64[C, n] and the groups' weights f64[C]."""
    counts = (visits.T @ membership).T  # [C, n]
    share = (counts + prior_events * overall) / (counts.sum(1, keepdims=True) + prior_events)
    weight = (membership.sum(0) + 1.0) / (len(membership) + membership.shape[1])
    return share, weight
