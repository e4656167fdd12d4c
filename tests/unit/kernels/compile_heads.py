"""Compiles the kernels of the heads and of top-k for GPUs that aren't there; a script, not a test.

As `compile_kernels.py`, whose recorder and tools it shares:

    python compile_heads.py 80 90 100 [--all]
"""

import functools

import compile_kernels as shared
import torch

from metarec_sdk.kernels import natpar, ridge, topk

topk._multiprocessors = lambda device: 132


def lists(k: int, m: int, dtype: torch.dtype, label: list[str]) -> None:
    """Top-k with a bias and exclusions, and without."""
    queries, items = torch.zeros(64, m, dtype=dtype), torch.zeros(999, m, dtype=dtype)
    excluded = torch.zeros(65, dtype=torch.int64), torch.zeros(5, dtype=torch.int64)
    label[0] = f"{dtype} k={k} m={m} excluded"
    topk.topk(queries, items, k, bias=torch.zeros(999), exclude=excluded)
    label[0] = f"{dtype} k={k} m={m}"
    topk.topk(queries, items, k)


def heads(s: int, m: int, label: list[str]) -> None:
    """Ridge and its adjoint, and natpar, of supports of one length."""
    support, weights, table = torch.zeros(4, s, dtype=torch.int64), torch.zeros(4, s), torch.zeros(9, m)
    label[0] = f"float32 s={s} m={m}"
    if ridge.is_fused(s, m, torch.float32):
        ridge.compute_solve(support, weights, table, torch.eye(m), torch.zeros(4, s), torch.zeros(4, m))
    natpar.compute_natpar(support, weights, table, torch.zeros(8, m), torch.zeros(7), torch.zeros(4, m))
    label[0] += " nothing given"
    if ridge.is_fused(s, m, torch.float32):
        ridge.compute_solve(support, weights, table, torch.eye(m), None, None)
    natpar.compute_natpar(support, weights, table, torch.zeros(1, m), torch.zeros(0), None)


def main() -> None:
    label = [""]
    for module in (topk, ridge, natpar):
        module.kernel = functools.partial(shared.Recorder, module.kernel(), label)
    shared.report(functools.partial(sizes, label))


def sizes(label: list[str], every_size: bool) -> None:
    """Heads and lists of the sizes that are shipped."""
    torch.set_float32_matmul_precision("highest")
    lists(10, 64, torch.float32, label)
    lists(100, 128, torch.float32, label)
    heads(10, 64, label)
    heads(50, 128, label)
    if every_size:
        for k in (1, 16, 128):
            for dtype in (torch.float32, torch.bfloat16, torch.float16):
                lists(k, 64, dtype, label)
        torch.set_float32_matmul_precision("high")
        lists(11, 48, torch.float32, label)
        for s in (1, 20, 32, 64, 300):
            for m in (8, 64, 100, 128, 1024):
                heads(s, m, label)


if __name__ == "__main__":
    main()
