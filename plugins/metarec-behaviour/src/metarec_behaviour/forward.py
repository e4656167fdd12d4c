"""Forward and backward recursions of a hidden Markov model, for all sequences side by side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metarec_sdk.types import Float64, Int32, Int64


class Posterior(NamedTuple):
    """What the sequences say of their hidden states."""

    log_likelihood: Float64
    """f64[u], nats, of each sequence."""
    states: Float64
    """f64[e, K], probability of each state at each event, given the whole sequence."""
    stays: Float64
    """f64[e], probability that the next event of the sequence has the same state; NaN at its last event."""


def posterior(
    start: Float64, transitions: Float64, emissions: Float64, symbols: Int32, offsets: Int64
) -> Posterior:
    """Scaled forward-backward (Rabiner, Proc. IEEE 1989, section V.A).

    start: f64[K]; transitions: f64[K, K], rows sum to 1; emissions: f64[K, S], all > 0; symbols: i32[e], 0 …
    S-1; sequence i is ``symbols[offsets[i]:offsets[i + 1]]`` and has at least one.
    """
    lengths = np.diff(offsets)
    longest_first = np.argsort(-lengths, kind="stable")
    starts, lengths = offsets[:-1][longest_first], lengths[longest_first]
    # Those that have an event at step t are the first ones: active[t] of them.
    steps = int(lengths[0]) if len(lengths) else 0
    active = np.searchsorted(-lengths, -np.arange(steps), side="left")
    emitted = emissions.T[symbols]  # [e, K]
    forward = np.empty_like(emitted)
    scale = np.empty(len(symbols))
    for step in range(steps):
        now = starts[: active[step]] + step
        # einsum, not BLAS: a sequence gets the same bytes whatever stands beside it.
        before = start[None, :] if step == 0 else np.einsum("uk,kl->ul", forward[now - 1], transitions)
        joint = before * emitted[now]
        scale[now] = joint.sum(1)
        forward[now] = joint / scale[now, None]
    backward = np.ones_like(emitted)
    for step in range(steps - 2, -1, -1):
        after = starts[: active[step + 1]] + step + 1
        weighted = emitted[after] * backward[after] / scale[after, None]
        backward[after - 1] = np.einsum("ul,kl->uk", weighted, transitions)
    stays = np.full(len(symbols), np.nan)
    inner = np.ones(len(symbols), bool)
    inner[offsets[1:] - 1] = False
    now = np.flatnonzero(inner)
    reached = emitted[now + 1] * backward[now + 1] / scale[now + 1, None]
    stays[now] = (forward[now] * np.diag(transitions) * reached).sum(1)
    total = np.add.reduceat(np.log(scale), offsets[:-1]) if len(symbols) else np.zeros(0)
    return Posterior(total, forward * backward, stays)
