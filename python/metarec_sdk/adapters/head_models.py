"""The built-in heads as torch models whose parameters an outer loop learns.

A model starts exactly at its head; parameters are moves away from that start, scaled so that one learning
rate suits them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from metarec_sdk.adapters.batch import EpisodeTensors
from metarec_sdk.adapters.catalogue_loss import Candidates
from metarec_sdk.adapters.natpar_torch import natpar_query, natpar_sums
from metarec_sdk.adapters.ridge_torch import ridge_query
from metarec_sdk.types import Head, State

Tables = Literal["untied", "tied", "rotation", "fixed"]

_ROTATION = 0.3  # units of a rotation's move: it acts on every item at once, a table's row on one
_VARIANCE = 3.0  # units of a log variance's move: few numbers, each with a say in every user


class HeadModel(Protocol):
    """What the outer loop needs of a head."""

    prior_mean: torch.Tensor | None
    """f[C + 1, m], the parent last, or None for 0."""

    def parameters(self) -> list[torch.Tensor]:
        """The leaf tensors to train."""

    def freeze(self) -> None:
        """Take the present parameters as values, so that queries of one batch after another are cheap."""

    def thaw(self) -> None:
        """Back to values that follow the parameters."""

    def scores(self, batch: EpisodeTensors, chosen: Candidates) -> torch.Tensor:
        """f[b, c] of the candidates."""

    def evidence(self, batch: EpisodeTensors) -> tuple[torch.Tensor, torch.Tensor]:
        """(estimate f[b, m] of each user's weights by the data alone, its precision f[b, m])."""

    def learned(self) -> State:
        """The arrays that training changed, under the names of the head's state."""


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
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _prior_mean(state: Mapping[str, NDArray[Any]]) -> torch.Tensor | None:
    mean = state.get("prior_mean")
    return None if mean is None or not np.any(mean) else _tensor(mean)


def member_means(prior_mean: torch.Tensor, batch: EpisodeTensors) -> torch.Tensor:
    """f[b, m], Σ_c π_uc μ_c; a task beyond the table has the parent's mean."""
    parent = len(prior_mean) - 1
    rows = batch.rows.clamp(max=parent)
    return (batch.memberships[:, :, None] * prior_mean[rows]).sum(1)


def _aged(batch: EpisodeTensors, age_weights: torch.Tensor) -> torch.Tensor:
    return batch.support_weights * age_weights[batch.support_ages.clamp(max=len(age_weights) - 1)]


class NatparModel:
    """`natpar` with free item tables: ψ R + Δ, one for the history and one for the ranked item.

    Whitening was done once by the head; a square R after it is *not* whitened again, or it would cancel out.
    Rows of ψ that are 0 (items nobody has met) stay 0.
    """

    def __init__(self, state: Mapping[str, NDArray[Any]], tables: Tables = "untied") -> None:
        self.tables = tables
        self.psi_in = _tensor(state["psi_in"])
        self.psi_out = _tensor(state.get("psi_out", state["psi_in"]))
        self.edges = _tensor(state["kappa_edges"])
        self.log_variance = torch.log(_tensor(state["prior_variance"]).clamp(min=1e-8))
        self.age_weights = _tensor(state.get("age_weights", np.ones(1, np.float32)))
        self.prior_mean = _prior_mean(state)
        n, m = self.psi_in.shape
        copies = {"untied": 2, "tied": 1, "rotation": 2, "fixed": 0}[tables]
        self._variance_move = torch.zeros_like(self.log_variance)
        self._rotations = [torch.zeros(m, m) for _ in range(copies)]
        self._moves = [torch.zeros(n, m) for _ in range(copies if tables != "rotation" else 0)]
        self._met = (self.psi_in.abs().sum(1, keepdim=True) > 0).float()  # [n, 1]
        self._frozen: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def parameters(self) -> list[torch.Tensor]:
        return [self._variance_move, *self._rotations, *self._moves]

    def freeze(self) -> None:
        with torch.no_grad():
            self._frozen = self._values()

    def thaw(self) -> None:
        self._frozen = None

    def scores(self, batch: EpisodeTensors, chosen: Candidates) -> torch.Tensor:
        table_in, table_out, variance = self._frozen or self._values()
        r, kappa = natpar_sums(batch.support, _aged(batch, self.age_weights), table_in)
        mean = None if self.prior_mean is None else member_means(self.prior_mean, batch)
        return natpar_query(r, kappa, variance, self.edges, mean) @ chosen.of(table_out).T

    def evidence(self, batch: EpisodeTensors) -> tuple[torch.Tensor, torch.Tensor]:
        """r/κ, whose variance about a task's mean is s + 1/κ; s of the bin of the longest histories."""
        table_in, _, variance = self._frozen or self._values()
        r, kappa = natpar_sums(batch.support, batch.support_weights, table_in)
        kappa = kappa[:, None].clamp(min=1e-9)
        return r / kappa, 1 / (variance[-1] + 1 / kappa)

    def learned(self) -> State:
        table_in, table_out, variance = (value.numpy() for value in self._frozen or self._values())
        state: State = {"prior_variance": variance}
        if self.tables != "fixed":
            state |= {"psi_in": table_in, "psi_out": table_out}
        return state

    def _values(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        variance = torch.exp(self.log_variance + _VARIANCE * self._variance_move)
        return self._moved(self.psi_in, 0), self._moved(self.psi_out, 1), variance

    def _moved(self, table: torch.Tensor, place: int) -> torch.Tensor:
        if not self._rotations:
            return table
        place = min(place, len(self._rotations) - 1)
        moved = table + _ROTATION * (table @ self._rotations[place])
        return moved + self._met * self._moves[place] if self._moves else moved


class RidgeModel:
    """`ridge` with a learned precision Λ of each dimension and weight α₀ of the unobserved."""

    def __init__(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.factors = _tensor(state["item_factors"])
        self.log_precision = torch.log(_tensor(state["precision"]))
        self.log_alpha = torch.log(_tensor(state["unobserved_weight"]).clamp(min=1e-8))[0]
        self.age_weights = _tensor(state.get("age_weights", np.ones(1, np.float32)))
        self.prior_mean = _prior_mean(state)
        self.gram = (self.factors.double().T @ self.factors.double()).float()
        self._precision_move = torch.zeros_like(self.log_precision)
        self._alpha_move = torch.zeros_like(self.log_alpha)

    def parameters(self) -> list[torch.Tensor]:
        return [self._precision_move, self._alpha_move]

    def freeze(self) -> None:
        """Nothing is worth keeping: the shared factorisation is small beside a batch."""

    def thaw(self) -> None:
        """Nothing was kept."""

    def scores(self, batch: EpisodeTensors, chosen: Candidates) -> torch.Tensor:
        mean = None if self.prior_mean is None else member_means(self.prior_mean, batch)
        return self._query(batch, mean) @ chosen.of(self.factors).T

    def evidence(self, batch: EpisodeTensors) -> tuple[torch.Tensor, torch.Tensor]:
        """w without a prior mean, every user alike."""
        query = self._query(batch, None)
        return query, torch.ones_like(query)

    def learned(self) -> State:
        precision, alpha = (value.detach().numpy() for value in self._values())
        return {"precision": precision, "unobserved_weight": alpha.reshape(1)}

    def _query(self, batch: EpisodeTensors, mean: torch.Tensor | None) -> torch.Tensor:
        precision, alpha = self._values()
        weights = _aged(batch, self.age_weights)
        return ridge_query(batch.support, weights, self.factors, self.gram, alpha, precision, mean)

    def _values(self) -> tuple[torch.Tensor, torch.Tensor]:
        precision = torch.exp(self.log_precision + _VARIANCE * self._precision_move)
        return precision, torch.exp(self.log_alpha + _VARIANCE * self._alpha_move)
