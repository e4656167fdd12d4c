"""Cutting by global time, with some users held out whole: shared by the cold-start and the warm protocol."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metarec_sdk.data import Interactions, splits


@dataclass(frozen=True, slots=True)
class Cut:
    """Training events, and who is judged after them."""

    train: Interactions
    """Events before T of the users who aren't cold."""
    cold: Interactions
    """All events of the cold users."""
    warm: Interactions
    """Events from T on of the users in `train`."""
    n_held_out: int
    """Cold users who have events before T."""


def cut_twice(
    log: Interactions, *, quantile: float, held_out: float, enough_strict: int, seed: int
) -> tuple[Cut, Cut]:
    """The test cut, and the validation cut within its training events, one window earlier.

    The same arguments give the same cuts, whichever protocol asks. A log without times isn't cut: then only
    users who are held out are cold, and nobody is warm.

    Raises:
        DataError: a part would be empty.
        ArgumentError: an argument is out of range.
    """
    rng = np.random.default_rng(seed)
    if not log.has_time:
        test = splits.held_out_users(log, fraction=held_out, rng=rng)
        validation = splits.held_out_users(test.train, fraction=held_out, rng=rng)
        nothing = log.replaced(log.frame.clear())
        return (
            Cut(test.train, test.test, nothing, test.test.n_users),
            Cut(validation.train, validation.test, nothing, validation.test.n_users),
        )
    outer = splits.cold_start(
        log,
        time_quantile=quantile,
        holdout_fraction=held_out,
        min_cold_users=enough_strict,
        rng=rng,
    )
    outer.check().raise_if_leaking()
    if outer.validation is None:
        raise AssertionError("cold_start gives a validation part unless told not to")
    return _cut(outer), _cut(outer.validation)


def _cut(split: splits.ColdStartSplit) -> Cut:
    return Cut(split.train, split.cold, split.warm, len(split.held_out))
