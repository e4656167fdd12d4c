"""Ridge heads of 4,096 users at once, against batched NumPy and torch.

    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python benches/ridge_against_batched.py [--threads 2]

Everybody solves ``(α₀ΦᵀΦ + Φ_SᵀΦ_S + Λ) w = Φ_Sᵀ1`` for users of k events in d = 64 dimensions by the dual:
with ``P = (α₀ΦᵀΦ + Λ)⁻¹ = L Lᵀ`` and ``Z = ΦL`` prepared beforehand, ``w = L Z_Sᵀ (I + Z_S Z_Sᵀ)⁻¹ 1``. A
peer gathers Z_S [b, k, d], multiplies and solves in batched calls. Before anything counts, each peer is tried
with LU and with Cholesky factors, all users at once and in blocks that stay in the caches, with one thread
and with all, and goes on with what was quickest; every result is compared with float64. Runs alternate in
one process and ratios are of medians, above 1 where we are faster. One row a k goes to
``benches/results/ridge_against_batched.jsonl``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

LENGTHS = (5, 10, 20, 50)
USERS, WIDTH = 4096, 64
UNOBSERVED, PRECISION = 0.1, 5.0
BLOCKS = (128, 512, USERS)


sys.path.insert(0, str(Path(__file__).parent))
from _batched import clock, parse  # noqa: E402

ARGUMENTS = parse(__doc__.splitlines()[0])

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _record import append, interleaved, machine, medians  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from metarec_sdk import _core  # noqa: E402

CLOCK = clock(ARGUMENTS)
Array = np.ndarray
Solve = Callable[[Array, Array, Array], Array]


def numpy_lu(items: Array, table: Array, back: Array) -> Array:
    rows = table[items]  # [b, k, d]
    inner = rows @ rows.transpose(0, 2, 1)  # [b, k, k]
    np.einsum("bii->bi", inner)[:] += 1.0
    shares = np.linalg.solve(inner, np.ones((*items.shape, 1), np.float32))  # [b, k, 1]
    return (shares.transpose(0, 2, 1) @ rows)[:, 0] @ back  # [b, d]


def torch_inner(items: Array, table: Array) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Z_S [b, k, d], I + Z_S Z_Sᵀ [b, k, k] and ones [b, k, 1]."""
    (b, k), d = items.shape, table.shape[1]
    index = torch.from_numpy(items).reshape(-1)
    rows = torch.index_select(torch.from_numpy(table), 0, index).view(b, k, d)
    inner = torch.baddbmm(torch.eye(k).expand(b, k, k), rows, rows.transpose(1, 2))
    return rows, inner, torch.ones(b, k, 1)


def torch_back(shares: torch.Tensor, rows: torch.Tensor, back: Array) -> Array:
    return (torch.bmm(shares.transpose(1, 2), rows)[:, 0] @ torch.from_numpy(back)).numpy()


def torch_lu(items: Array, table: Array, back: Array) -> Array:
    rows, inner, ones = torch_inner(items, table)
    return torch_back(torch.linalg.solve(inner, ones), rows, back)


def torch_cholesky(items: Array, table: Array, back: Array) -> Array:
    rows, inner, ones = torch_inner(items, table)
    return torch_back(torch.cholesky_solve(ones, torch.linalg.cholesky(inner)), rows, back)


PEERS: dict[str, dict[str, Solve]] = {
    "numpy": {"LU": numpy_lu},
    "torch": {"LU": torch_lu, "Cholesky": torch_cholesky},
}


def in_blocks(
    solve: Solve, block: int, limits: Callable[[], object], items: Array, table: Array, back: Array
) -> Array:
    limits()
    parts = [solve(items[start : start + block], table, back) for start in range(0, len(items), block)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def quickest(calls: dict[str, Callable[[], Array]]) -> str:
    times = interleaved(calls, 3, CLOCK)
    return min(times, key=lambda name: min(times[name]))


def compare(name: str, got: Array, want: Array) -> float:
    """The largest error beside the largest entry; stops where that isn't rounding."""
    error = float(np.abs(got - want).max() / np.abs(want).max())
    if not error < 1e-5:
        raise SystemExit(f"{name} is off by {error:.1e} of the largest entry")
    return error


def main() -> None:
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((ARGUMENTS.items, WIDTH)).astype(np.float32) * np.float32(0.1)
    exact = factors.astype(np.float64)
    shared = UNOBSERVED * exact.T @ exact + PRECISION * np.eye(WIDTH)
    root = np.linalg.cholesky(np.linalg.inv(shared))
    table, back = (exact @ root).astype(np.float32), np.ascontiguousarray(root.T, np.float32)
    solver = _core.FactorSolver(factors, np.full(WIDTH, PRECISION, np.float32), unobserved_weight=UNOBSERVED)
    for k in LENGTHS:
        items = rng.integers(0, ARGUMENTS.items, (USERS, k))
        offsets = np.arange(0, USERS * k + 1, k, dtype=np.int64)
        flat, weights = items.reshape(-1).astype(np.int32), np.ones(USERS * k, np.float32)
        rows = exact[items]  # [b, k, d]
        left = shared + rows.transpose(0, 2, 1) @ rows  # [b, d, d]
        want = np.linalg.solve(left, rows.sum(1)[:, :, None])[:, :, 0]
        contenders: dict[str, Callable[[], Array]] = {"ours": partial(solver.solve, offsets, flat, weights)}
        settings: dict[str, str] = {}
        with threadpool_limits(None):
            for peer, ways in PEERS.items():
                calls = {}
                for (way, solve), block, threads in product(
                    ways.items(), BLOCKS, sorted({1, ARGUMENTS.threads})
                ):
                    limits = partial(limit, peer, threads)
                    calls[f"{way}, blocks of {block}, {threads} threads"] = partial(
                        in_blocks, solve, block, limits, items, table, back
                    )
                settings[peer] = quickest(calls)
                contenders[peer] = calls[settings[peer]]
            errors = {name: compare(name, call(), want) for name, call in contenders.items()}
            times = medians(interleaved(contenders, ARGUMENTS.repeats, CLOCK))
        best = min(times[peer] for peer in PEERS)
        row = {
            "k": k,
            "ratio": round(best / times["ours"], 2),
            "microseconds": {name: round(time / USERS * 1e6, 3) for name, time in times.items()},
            "settings": settings,
            "error": errors,
        }
        append("ridge_against_batched", {**row, **vars(ARGUMENTS), **machine("torch")})


def limit(peer: str, threads: int) -> None:
    """Give a peer so many threads from now on."""
    if peer == "torch":
        torch.set_num_threads(threads)
    else:
        threadpool_limits(threads, "blas")


if __name__ == "__main__":
    main()
