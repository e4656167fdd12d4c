"""Weights by age: how much less an older event of a history says."""

from __future__ import annotations

import numpy as np

from metarec_sdk.types import Float32, Histories


def aged_weights(histories: Histories, age_weights: Float32) -> Float32:
    """f32[e], ω of each event times ``age_weights[age]``, where age 0 is the newest event of its row.

    Ages beyond the table take its last entry.
    """
    if (age_weights == 1.0).all():
        return histories.weights
    positions = np.arange(len(histories.items))
    age = np.repeat(histories.offsets[1:], histories.lengths) - 1 - positions
    factors: Float32 = age_weights[np.minimum(age, len(age_weights) - 1)]
    return histories.weights * factors
