"""A learned part ships only where validation says so beyond noise."""

from __future__ import annotations

import numpy as np
import torch


def user_gain(before: torch.Tensor, after: torch.Tensor, users: torch.Tensor) -> tuple[float, float]:
    """(mean, standard error) in nats of the paired gain ``before − after``, averaged per user first.

    Episodes of one user aren't independent, so the error is taken over users: before, after f[b],
    users i64[b]. With fewer than two users the error is infinite.
    """
    n_users = int(users.max()) + 1 if len(users) else 0
    if n_users < 2:
        return 0.0, float("inf")
    gain = (before - after).double()
    total = torch.zeros(n_users, dtype=torch.float64).index_add_(0, users, gain)
    count = torch.bincount(users, minlength=n_users)
    mean = (total / count.clamp(min=1))[count > 0].numpy()
    return float(mean.mean()), float(mean.std(ddof=1) / np.sqrt(len(mean)))


def earns_its_place(before: torch.Tensor, after: torch.Tensor, users: torch.Tensor) -> bool:
    """Whether the paired gain is above one standard error."""
    gain, error = user_gain(before, after, users)
    return gain > error
