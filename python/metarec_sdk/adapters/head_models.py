"""The built-in heads as torch models whose parameters an outer loop learns.

A model starts exactly at its head; its parameters are moves away from that start, scaled so that one learning
rate suits them all. `HeadModel.values` is the head at the present parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from metarec_sdk.adapters.batch import EpisodeTensors
from metarec_sdk.kernels.natpar import natpar, natpar_sums
from metarec_sdk.kernels.ridge import ridge_query
from metarec_sdk.types import Head, State

Tables = Literal["untied", "tied", "rotation", "fixed"]

_ROTATION = 0.3  # units of a rotation's move: it acts on every item at once, a table's row on one
_LOGARITHM = 3.0  # units of the move of a logarithm: few numbers, each with a say in every user


@dataclass(frozen=True)
class NatparValues:
    """A `natpar` head: ``ŵ = (s r + μ) / (s κ + 1)``."""

    psi_in: torch.Tensor
    """f[n, m]."""
    items: torch.Tensor
    """f[n, m], ψ_out, the table that is ranked."""
    variance: torch.Tensor
    """f[bins, m]."""
    edges: torch.Tensor
    age_weights: torch.Tensor
    prior_mean: torch.Tensor | None
    """f[C + 1, m], the parent last, or None for 0."""

    def query(self, batch: EpisodeTensors) -> torch.Tensor:
        """f[b, m], each user's vector."""
        weights, means = _aged(batch, self.age_weights), _member_means(self.prior_mean, batch)
        return natpar(batch.support, weights, self.psi_in, self.variance, self.edges, means)[0]

    def evidence(self, batch: EpisodeTensors) -> tuple[torch.Tensor, torch.Tensor]:
        """(estimate f[b, m] of each user's vector by the data alone, its precision f[b, m]).

        r/κ, whose variance about a task's mean is s + 1/κ; s is that of the longest histories.
        """
        r, kappa = natpar_sums(batch.support, batch.support_weights, self.psi_in)
        kappa = kappa[:, None].clamp(min=1e-9)
        return r / kappa, 1 / (self.variance[-1] + 1 / kappa)

    def state(self) -> State:
        """What training changes, under the names of the head's state."""
        tables = {"psi_in": self.psi_in, "psi_out": self.items, "prior_variance": self.variance}
        return {name: value.contiguous().numpy() for name, value in tables.items()}


@dataclass(frozen=True)
class RidgeValues:
    """A `ridge` head: ``(α₀ G + Φ_SᵀΩΦ_S + Λ) w = Φ_SᵀΩ1 + Λ μ``."""

    items: torch.Tensor
    """f[n, m], Φ."""
    gram: torch.Tensor
    precision: torch.Tensor
    """f[m], the diagonal of Λ."""
    alpha: torch.Tensor
    age_weights: torch.Tensor
    prior_mean: torch.Tensor | None

    def query(self, batch: EpisodeTensors) -> torch.Tensor:
        """f[b, m], each user's vector."""
        return self._solve(batch, _member_means(self.prior_mean, batch))

    def evidence(self, batch: EpisodeTensors) -> tuple[torch.Tensor, torch.Tensor]:
        """w without a prior mean, every user alike; see `NatparValues.evidence`."""
        query = self._solve(batch, None)
        return query, torch.ones_like(query)

    def state(self) -> State:
        """What training changes, under the names of the head's state."""
        return {"precision": self.precision.numpy(), "unobserved_weight": self.alpha.reshape(1).numpy()}

    def _solve(self, batch: EpisodeTensors, mean: torch.Tensor | None) -> torch.Tensor:
        weights = _aged(batch, self.age_weights)
        return ridge_query(batch.support, weights, self.items, self.gram, self.alpha, self.precision, mean)


HeadValues: TypeAlias = NatparValues | RidgeValues


class HeadModel(Protocol):
    """What the outer loop trains."""

    def parameters(self) -> list[torch.Tensor]:
        """The leaf tensors to train, all 0 at the start."""

    def values(self) -> HeadValues:
        """The head at the present parameters, differentiable in them."""


class NatparModel:
    """`natpar` with free item tables ψ R + Δ, one for the history and one for the ranked item.

    Whitening was done once by the head; a square R after it is *not* whitened again, or it would cancel out.
    Rows of ψ that are 0 (items nobody has met) stay 0.
    """

    def __init__(self, state: Mapping[str, NDArray[Any]], tables: Tables = "untied") -> None:
        self._psi_in = _tensor(state["psi_in"])
        self._psi_out = _tensor(state.get("psi_out", state["psi_in"]))
        self._edges = _tensor(state["kappa_edges"])
        self._log_variance = torch.log(_tensor(state["prior_variance"]).clamp(min=1e-8))
        self._age_weights = _age_weights(state)
        self._prior_mean = _prior_mean(state)
        n, m = self._psi_in.shape
        rotations = {"untied": 2, "tied": 1, "rotation": 2, "fixed": 0}[tables]
        moves = 0 if tables == "rotation" else rotations
        self._met = (self._psi_in.abs().sum(1, keepdim=True) > 0).float()  # [n, 1]
        self._variance_move = torch.zeros_like(self._log_variance)
        self._rotations = [torch.zeros(m, m) for _ in range(rotations)]
        self._moves = [torch.zeros(n, m) for _ in range(moves)]

    def parameters(self) -> list[torch.Tensor]:
        """Moves of the log variance, of the rotations and of the tables."""
        return [self._variance_move, *self._rotations, *self._moves]

    def values(self) -> NatparValues:
        """The head at the present parameters."""
        return NatparValues(
            self._moved(self._psi_in, 0),
            self._moved(self._psi_out, -1),
            torch.exp(self._log_variance + _LOGARITHM * self._variance_move),
            self._edges,
            self._age_weights,
            self._prior_mean,
        )

    def _moved(self, table: torch.Tensor, place: int) -> torch.Tensor:
        if self._rotations:
            table = table + _ROTATION * (table @ self._rotations[place])
        return table + self._met * self._moves[place] if self._moves else table


class RidgeModel:
    """`ridge` with a learned precision Λ of each dimension and weight α₀ of the unobserved."""

    def __init__(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._factors = _tensor(state["item_factors"])
        self._gram = (self._factors.double().T @ self._factors.double()).float()
        self._log_precision = torch.log(_tensor(state["precision"]))
        self._log_alpha = torch.log(_tensor(state["unobserved_weight"]).clamp(min=1e-8))[0]
        self._age_weights = _age_weights(state)
        self._prior_mean = _prior_mean(state)
        self._precision_move = torch.zeros_like(self._log_precision)
        self._alpha_move = torch.zeros_like(self._log_alpha)

    def parameters(self) -> list[torch.Tensor]:
        """Moves of log Λ and log α₀."""
        return [self._precision_move, self._alpha_move]

    def values(self) -> RidgeValues:
        """The head at the present parameters."""
        return RidgeValues(
            self._factors,
            self._gram,
            torch.exp(self._log_precision + _LOGARITHM * self._precision_move),
            torch.exp(self._log_alpha + _LOGARITHM * self._alpha_move),
            self._age_weights,
            self._prior_mean,
        )


def model_of(head: Head, learned: Mapping[str, NDArray[Any]], tables: Tables) -> HeadModel | None:
    """The model of a natpar or ridge head by the names of its arrays, None for a head of another kind.

    learned: arrays that replace the head's own, as an earlier fit gave them.
    """
    state = {**head.state(), **learned}
    if {"psi_in", "prior_variance", "kappa_edges"} <= state.keys():
        return NatparModel(state, tables)
    if {"item_factors", "precision", "unobserved_weight"} <= state.keys():
        return RidgeModel(state)
    return None


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32))


def _age_weights(state: Mapping[str, NDArray[Any]]) -> torch.Tensor:
    return _tensor(state.get("age_weights", np.ones(1, np.float32)))


def _prior_mean(state: Mapping[str, NDArray[Any]]) -> torch.Tensor | None:
    mean = state.get("prior_mean")
    return None if mean is None or not np.any(mean) else _tensor(mean)


def _aged(batch: EpisodeTensors, age_weights: torch.Tensor) -> torch.Tensor:
    return batch.support_weights * age_weights[batch.support_ages.clamp(max=len(age_weights) - 1)]


def _member_means(prior_mean: torch.Tensor | None, batch: EpisodeTensors) -> torch.Tensor | None:
    """f[b, m], Σ_c π_uc μ_c; a task beyond the table has the parent's mean."""
    if prior_mean is None:
        return None
    rows = batch.rows.clamp(max=len(prior_mean) - 1)
    return (batch.memberships[:, :, None] * prior_mean[rows]).sum(1)
