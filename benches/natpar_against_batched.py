"""The default head's adaptation of 4,096 users at once, against the same formula in NumPy and torch.

    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python benches/natpar_against_batched.py [--threads 2]

From k events each to ``ŵ = (r + μ/s) / (κ + 1/s)`` with ``r = Σ ω ψ`` in d = 64 dimensions, s chosen by κ.
Ours sums in float64 on a grid, so that a state is exact and events can be taken away again; the peers sum in
float32: torch by ``embedding_bag``, NumPy by a gather and a sum, all users at once or in blocks that stay in
the caches, whichever was quicker beforehand. Runs alternate in one process, ratios are of medians, above 1
where we are faster. One row a k goes to ``benches/results/natpar_against_batched.jsonl``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

LENGTHS = (1, 5, 10, 20, 50)
USERS, WIDTH = 4096, 64
BLOCKS = (128, 512, USERS)


sys.path.insert(0, str(Path(__file__).parent))
from _batched import clock, parse  # noqa: E402

ARGUMENTS = parse(__doc__.splitlines()[0])

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _record import append, interleaved, machine, medians  # noqa: E402

from metarec_sdk import _core  # noqa: E402
from metarec_sdk.heads.prior import KAPPA_EDGES  # noqa: E402

CLOCK = clock(ARGUMENTS)
Array = np.ndarray
Adapt = Callable[[Array, Array], Array]


class Problem:
    """Tables of the head, and three ways to a user's vector."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.psi = rng.standard_normal((ARGUMENTS.items, WIDTH)).astype(np.float32)
        self.variance = rng.uniform(0.01, 1.0, (len(KAPPA_EDGES) + 1, WIDTH)).astype(np.float32)
        self.mean = (0.1 * rng.standard_normal(WIDTH)).astype(np.float32)
        self.table = _core.NatparTable(self.psi)
        self.torch_psi = torch.from_numpy(self.psi)

    def ours(self, items: Array, weights: Array) -> Array:
        b, k = items.shape
        offsets = np.arange(0, b * k + 1, k, dtype=np.int64)
        r, kappa = self.table.state(offsets, items.reshape(-1), weights.reshape(-1))
        mean = np.tile(self.mean, (b, 1))
        return _core.natpar_query(r, kappa, self.variance, KAPPA_EDGES, mean)

    def numpy(self, items: Array, weights: Array) -> Array:
        return self._solved(np.einsum("bk,bkd->bd", weights, self.psi[items]), weights.sum(1))

    def torch(self, items: Array, weights: Array) -> Array:
        r = torch.nn.functional.embedding_bag(
            torch.from_numpy(items), self.torch_psi, mode="sum", per_sample_weights=torch.from_numpy(weights)
        )
        return self._solved(r.numpy(), weights.sum(1))

    def exact(self, items: Array, weights: Array) -> Array:
        r = np.einsum("bk,bkd->bd", weights.astype(np.float64), self.psi[items].astype(np.float64))
        return self._solved(r, weights.astype(np.float64).sum(1))

    def _solved(self, r: Array, kappa: Array) -> Array:
        precision = 1.0 / self.variance[np.searchsorted(KAPPA_EDGES, kappa, side="right")].astype(r.dtype)
        return (r + self.mean * precision) / (kappa[:, None] + precision)


def in_blocks(adapt: Adapt, block: int, items: Array, weights: Array) -> Array:
    parts = [
        adapt(items[start : start + block], weights[start : start + block])
        for start in range(0, len(items), block)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def main() -> None:
    torch.set_num_threads(ARGUMENTS.threads)
    rng = np.random.default_rng(0)
    problem = Problem(rng)
    for k in LENGTHS:
        items = rng.integers(0, ARGUMENTS.items, (USERS, k), dtype=np.int32)
        weights = rng.uniform(0.5, 1.5, (USERS, k)).astype(np.float32)
        want = problem.exact(items, weights)
        contenders: dict[str, Callable[[], Array]] = {"ours": partial(problem.ours, items, weights)}
        blocks = {}
        for name, adapt in (("numpy", problem.numpy), ("torch", problem.torch)):
            calls = {str(block): partial(in_blocks, adapt, block, items, weights) for block in BLOCKS}
            times = interleaved(calls, 5, CLOCK)
            blocks[name] = min(times, key=lambda block: min(times[block]))
            contenders[name] = calls[blocks[name]]
        errors = {}
        for name, call in contenders.items():
            errors[name] = float(np.abs(call() - want).max() / np.abs(want).max())
            if not errors[name] < 1e-5:
                raise SystemExit(f"{name} is off by {errors[name]:.1e} of the largest entry")
        times = medians(interleaved(contenders, ARGUMENTS.repeats, CLOCK))
        row = {
            "k": k,
            "ratio": round(min(times["numpy"], times["torch"]) / times["ours"], 2),
            "microseconds": {name: round(seconds / USERS * 1e6, 3) for name, seconds in times.items()},
            "blocks": blocks,
            "error": errors,
        }
        append("natpar_against_batched", {**row, **vars(ARGUMENTS), **machine("torch")})


if __name__ == "__main__":
    main()
