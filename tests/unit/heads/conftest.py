"""Small logs with a known structure."""

from __future__ import annotations

import numpy as np
import pytest

from metarec_sdk.types import Histories, TrainingLog


@pytest.fixture(scope="session")
def checkerboard() -> TrainingLog:
    """40 users over 20 items: even users take even items, odd users odd ones, in random order."""
    rng = np.random.default_rng(0)
    rows = [list(rng.permutation(np.arange(user % 2, 20, 2))[:7]) for user in range(40)]
    return TrainingLog(Histories.from_lists(rows), 20)


@pytest.fixture(scope="session")
def chance() -> TrainingLog:
    """60 users over 30 items without any structure; items 28 and 29 never occur, user 3 has no event."""
    rng = np.random.default_rng(1)
    rows = [list(rng.integers(0, 28, 0 if user == 3 else rng.integers(1, 15))) for user in range(60)]
    return TrainingLog(Histories.from_lists(rows), 30)
