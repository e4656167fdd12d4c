"""A learned part ships only where validation says so beyond noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Verdict:
    """How good the ranking of each validation episode is."""

    losses: torch.Tensor
    """f[b], mean cross-entropy in nats per query event."""
    ndcg: torch.Tensor
    """f[b], NDCG@10."""
    users: torch.Tensor
    """i64[b]."""

    @property
    def loss(self) -> float:
        """Mean loss, every user counted once."""
        return float(per_user(self.losses, self.users).mean()) if len(self.users) else 0.0

    def gain_over(self, before: Verdict) -> tuple[float, float]:
        """(mean, standard error) in nats of the paired gain in loss, over users."""
        return mean_and_error(per_user(before.losses - self.losses, self.users))

    def earns_its_place(self, before: Verdict) -> bool:
        """Whether NDCG@10, which is what lists are judged by, rises by more than one standard error of the
        paired difference while the loss falls: a loss can also fall by better calibration alone, which ranks
        nothing better."""
        gain, error = mean_and_error(per_user(self.ndcg - before.ndcg, self.users))
        return gain > error and self.gain_over(before)[0] > 0


def per_user(values: torch.Tensor, users: torch.Tensor) -> torch.Tensor:
    """f64[people], the mean of each user's episodes, which aren't independent of each other.

    users: i64[b]; numbers that don't occur are left out.
    """
    people, place = torch.unique(users, return_inverse=True)
    total = torch.zeros(len(people), dtype=torch.float64).index_add_(0, place, values.double())
    return total / torch.bincount(place, minlength=len(people))


def mean_and_error(values: torch.Tensor) -> tuple[float, float]:
    """(mean, standard error); the error of fewer than two values is infinite."""
    if len(values) < 2:
        return 0.0, float("inf")
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))
