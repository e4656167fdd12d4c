"""The additive state of users under the ``natpar`` head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class UserState:
    """Sums over the events of b users.

    Each contribution lies on a grid of 2⁻²⁴ and the sums are float64, which holds them exactly: states can
    be added and subtracted in any order, to the bit. Taking an event away leaves no trace of it; two devices
    merge by addition.
    """

    r: NDArray[np.float64]
    """f64[b, m], Σ ω ψ."""
    kappa: NDArray[np.float64]
    """f64[b], Σ ω."""

    def __post_init__(self) -> None:
        if self.r.ndim != 2 or self.kappa.shape != self.r.shape[:1]:
            raise ArgumentError(
                f"r has shape {self.r.shape} and kappa {self.kappa.shape}, expected [b, m] and [b]"
            )

    def __len__(self) -> int:
        return len(self.kappa)

    def __add__(self, other: UserState) -> UserState:
        return UserState(self.r + other.r, self.kappa + other.kappa)

    def __sub__(self, other: UserState) -> UserState:
        kappa = self.kappa - other.kappa
        if (kappa < 0).any():
            row = int(np.argmin(kappa))
            raise ArgumentError(
                f"row {row}: events of weight {other.kappa[row]} can't be taken from a state of weight "
                f"{self.kappa[row]}; only events that were added can be forgotten"
            )
        return UserState(self.r - other.r, kappa)
