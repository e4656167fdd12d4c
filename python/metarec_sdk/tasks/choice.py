"""How many tasks are worth having: one unless the validation losses clearly say more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarec_sdk.errors import ArgumentError, DataError


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of the table behind a `Choice`; every figure is in the unit of the losses."""

    n_tasks: int
    loss: float
    """Mean over the episodes."""
    gain: float
    """Mean paired gain over one task; positive is better."""
    gain_error: float
    """Standard error of the gain."""
    behind_best: float
    """Mean paired loss against the best candidate, ≥ 0."""
    behind_error: float
    """Standard error of behind_best."""
    gain_over_random: float | None
    """Mean paired gain over random clusters of the same number, where they were measured."""
    chosen: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """The number of tasks, and why."""

    n_tasks: int
    table: tuple[Candidate, ...]
    """Ascending in n_tasks."""


def paired(worse: NDArray[Any], better: NDArray[Any]) -> tuple[float, float]:
    """(mean, standard error) of ``worse − better``; the error of a single pair is infinite."""
    difference = np.asarray(worse, np.float64) - np.asarray(better, np.float64)
    if len(difference) < 2:
        return float(difference.mean()), float("inf")
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def choose_n_tasks(
    losses: Mapping[int, NDArray[Any]],
    random_losses: Mapping[int, NDArray[Any]] | None = None,
    *,
    least: int = 1,
) -> Choice:
    """The smallest number of tasks within one standard error of the best, and 1 unless it is clearly beaten.

    losses: n_tasks -> f[v], the loss of the same v validation episodes in the same order; 1 has to be
    among them. A number is admitted only where it beats one task by more than one standard error of the
    paired differences and, where random_losses holds it, random clusters of that number as well: what
    random clusters reach too is the work of more parameters, not of the tasks. Above 1, least admits every
    number from there on without proof, and no other, where there is one.

    Raises `ArgumentError` without 1 or for arrays of different lengths, `DataError` for a loss that isn't
    finite.
    """
    arrays = {int(n): np.asarray(values, np.float64) for n, values in sorted(losses.items())}
    control = {int(n): np.asarray(values, np.float64) for n, values in (random_losses or {}).items()}
    if 1 not in arrays:
        raise ArgumentError(f"losses must hold one task, the case to beat; got {list(arrays)}")
    for name, group in (("losses", arrays), ("random_losses", control)):
        for n, values in group.items():
            if values.shape != arrays[1].shape or values.ndim != 1 or not len(values):
                raise ArgumentError(
                    f"{name}[{n}] must be f[v] over the same v ≥ 1 episodes as losses[1], got "
                    f"{values.shape} and {arrays[1].shape}"
                )
            if not np.isfinite(values).all():
                raise DataError(f"{name}[{n}] holds a loss that isn't finite")

    admitted = [1]
    for n, values in arrays.items():
        rivals = [arrays[1], *([control[n]] if n in control else [])]
        if n != 1 and all(mean > error for mean, error in (paired(rival, values) for rival in rivals)):
            admitted.append(n)
    if least > 1:
        admitted = [n for n in arrays if n >= least] or admitted
    best = min(admitted, key=lambda n: (arrays[n].mean(), n))
    behind = {n: paired(values, arrays[best]) for n, values in arrays.items()}
    chosen = min(n for n in admitted if n == best or behind[n][0] <= behind[n][1])
    rows = []
    for n, values in arrays.items():
        gain, gain_error = (0.0, 0.0) if n == 1 else paired(arrays[1], values)
        over_random = paired(control[n], values)[0] if n in control else None
        rows.append(
            Candidate(n, float(values.mean()), gain, gain_error, *behind[n], over_random, n == chosen)
        )
    return Choice(chosen, tuple(rows))
