"""Runs the kernels of the heads and of top-k in Triton's interpreter and prints errors as JSON; a script.

As `interpret_kernels.py`, whose settings (poisoned memory, one thread) and tools it shares.
"""

import json
import sys
import tempfile

import interpret_kernels as shared
import numpy as np
import torch

from metarec_sdk.kernels import natpar, ridge, topk
from metarec_sdk.ranking import ItemIndex

topk._multiprocessors = lambda device: 1
ridge.is_fused = lambda s, m, dtype: s > 0
topk.blocks = lambda b, k, dtype: (16, 32, 16, 8)


def lists(b, n, m, k, *, seed=0, excluded=True, dtype=torch.float32):
    """Share of the places where lists differ from the Rust core's; every score is a small integer or half of
    one, so that sums are exact in any order and ties are many."""
    rng = np.random.default_rng(seed)
    queries = rng.integers(-2, 3, (b, m)).astype(np.float32)
    items = rng.integers(-2, 3, (n, m)).astype(np.float32)
    bias = rng.integers(-40, -35, n).astype(np.float32) / 2  # best scores about 0
    lengths = rng.integers(0, 9, b)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    seen = rng.integers(0, max(n, 1), offsets[-1])
    exclude = (offsets, seen) if excluded and n else None
    expected = ItemIndex(items).topk(queries, k, exclude=exclude, bias=bias).padded(k)
    given = [torch.from_numpy(value).to(dtype) for value in (queries, items)]
    csr = None if exclude is None else (torch.from_numpy(offsets), torch.from_numpy(seen))
    found = topk.topk(*given, k, bias=torch.from_numpy(bias), exclude=csr)
    wrong = [(one.numpy() != other).mean() if other.size else 0.0 for one, other in zip(found, expected)]
    return float(max(wrong))


def unordered_values():
    """Share of wrong places where scores are NaN, infinite or -0.0."""
    items = torch.tensor([[float("nan")], [-0.0], [1.0], [0.0], [float("-inf")], [1.0]])
    ids, scores = topk.topk(torch.ones(1, 1), items, 6)
    right = ids.tolist() == [[2, 5, 1, 3, -1, -1]] and scores[0, :4].tolist() == [1, 1, 0, 0]
    return float(
        not (right and not torch.signbit(scores[0, :4]).any() and (scores[0, 4:] == -torch.inf).all())
    )


def topk_cases(*, quick):
    """Errors of top-k by case; quick: those that find every mutant."""
    if quick:
        return {
            "topk": max(lists(3, 100, 20, 5), lists(1, 40, 3, 9), lists(1, 290, 3, 18), unordered_values())
        }
    sizes = {
        "odd sizes": (19, 100, 20, 5),
        "longer than the list": (3, 6, 3, 9),
        "long list": (2, 90, 5, 40),
        "long list, from a sample": (3, 330, 6, 20),
        "one": (1, 1, 1, 1),
        "no items": (2, 0, 3, 2),
        "nobody": (0, 5, 3, 2),
    }
    found = {f"topk {name}": lists(*size) for name, size in sizes.items()}
    found["topk without bias or exclusion"] = unordered_values()
    found["topk half precision"] = lists(5, 70, 20, 5, dtype=torch.float16)
    return found


def user_vectors(b, s, m, *, dtype, targets=True, right=True):
    """The largest error of w and of its derivatives, which are another launch, against the reference."""
    generator = torch.Generator().manual_seed(b + s + m)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    n = 11
    support = torch.randint(n, (b, s), generator=generator)
    lengths = torch.randint(0, s + 1, (b, 1), generator=generator)
    lengths[:1] = s
    weights = torch.rand(b, s, generator=generator, dtype=torch.float64).to(dtype)
    weights = torch.where(torch.arange(s) < lengths, weights + 0.1, 0.0)
    support[:1, 0] = n - 1
    support[weights == 0] = n  # a row of NaN: padding isn't read
    base = draw(m, m)
    base = base @ base.T / m + torch.eye(m, dtype=dtype)
    factors = torch.cat([draw(n, m), torch.full((1, m), torch.nan, dtype=dtype)])
    inputs = [weights, factors, base, draw(b, s) if targets else None, draw(b, m) if right else None]
    w = ridge.compute_solve(support, *inputs)
    exact = [None if value is None else value.double() for value in inputs]
    return shared.worst([w], [ridge.ridge_reference(support.where(weights > 0, 0), *exact)])


def ridge_cases(*, quick):
    """Errors of ridge by case; quick: those that find every mutant."""
    if quick:
        return {"ridge": user_vectors(2, 5, 18, dtype=torch.float32)}
    found = {}
    for dtype in (torch.float32, torch.float64):
        for s, m in ((5, 3), (1, 1), (7, 18), (20, 40), (33, 5)):
            found[f"ridge {dtype} s={s} m={m}"] = user_vectors(4, s, m, dtype=dtype)
        found[f"ridge {dtype} nobody"] = user_vectors(0, 3, 4, dtype=dtype)
        found[f"ridge {dtype} without right"] = user_vectors(3, 6, 4, dtype=dtype, right=False)
        found[f"ridge {dtype} without targets"] = user_vectors(3, 6, 4, dtype=dtype, targets=False)
    return found


def posterior_means(b, s, m, *, dtype, bins=4, mean=True):
    """The largest error of w, r and kappa against the reference; padding is an item with a row of NaN."""
    generator = torch.Generator().manual_seed(b + s + m)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    n = 11
    support = torch.randint(n, (b, s), generator=generator)
    weights = torch.randint(4, (b, s), generator=generator).to(dtype) / 2
    support[:1, -1:], weights[:1, -1:] = n - 1, 0.5
    psi = torch.cat([draw(n, m), torch.full((1, m), torch.nan, dtype=dtype)])
    edges = torch.arange(1, bins, dtype=dtype)  # some kappa lie on them
    inputs = [psi, draw(bins, m).exp(), edges, draw(b, m) if mean else None]
    found = natpar.compute_natpar(support.where(weights > 0, n), weights, *inputs)
    exact = [None if value is None else value.double() for value in inputs]
    return shared.worst(list(found), list(natpar.natpar_reference(support, weights.double(), *exact)))


def natpar_cases(*, quick):
    """Errors of natpar by case; quick: those that find every mutant."""
    if quick:
        sizes = (5, 150, 13), (6, 3, 2)
        return {f"natpar {size}": posterior_means(*size, dtype=torch.float32) for size in sizes}
    found = {}
    for dtype in (torch.float32, torch.float64):
        for b, s, m in ((5, 6, 13), (3, 150, 20), (2, 1, 1), (0, 3, 4), (2, 0, 3)):
            found[f"natpar {dtype} b={b} s={s} m={m}"] = posterior_means(b, s, m, dtype=dtype)
        found[f"natpar {dtype} one bin, no mean"] = posterior_means(3, 5, 4, dtype=dtype, bins=1, mean=False)
    return found


MODULES = {"topk": topk, "ridge": ridge, "natpar": natpar}
MUTANTS = [
    ("topk", "mask=(item < end)[None, :] & (d < D)[:, None]", "mask=(item < end)[None, :]", "width unmasked"),
    (
        "topk",
        "tl.minimum(part * chunk + chunk, N)",
        "tl.minimum(part * chunk + chunk, N - 1)",
        "last item lost",
    ),
    ("topk", "(item < end)[None, :] & (scores == scores)", "scores == scores", "items beyond the end"),
    ("topk", "slot < K, slot +", "slot < BLOCK_K, slot +", "more places than k"),
    ("topk", "(0xFFFFFFFF - (start", "((start", "ties by the larger id"),
    ("topk", "bits < 0, bits ^ 0x7FFFFFFF, bits).to", "bits < 0, bits, bits).to", "negative scores turned"),
    ("topk", "(value < wanted), middle + 1", "(value <= wanted), middle + 1", "search that goes too far"),
    ("topk", "floor = tl.maximum(bits", "floor = tl.minimum(bits", "lists that let worse items in"),
    ("topk", "other=-1) != wanted", "other=-1) == wanted", "only what is excluded"),
    (
        "ridge",
        "used[:, None] & (k < M)[None, :], other=0.0)\n                inv",
        "used[:, None], other=0.0)\n                inv",
        "width unmasked",
    ),
    ("ridge", "used = weight > 0", "used = i < S", "padding read"),
    ("ridge", "range(0, at + BLOCK_C, BLOCK_C)", "range(0, at, BLOCK_C)", "diagonal of the inverse lost"),
    ("ridge", "projected *= root[:, None]", "projected *= 1", "weights lost"),
    ("ridge", "column * scale, 0.0)", "column, 0.0)", "pivot not scaled"),
    ("ridge", "i > j, column * z", "i >= j, column * z", "diagonal taken twice"),
    ("ridge", "tl.where(used, i + 1, 0), 0)", "tl.where(used, i, 0), 0)", "last row lost"),
    (
        "ridge",
        "            w = tl.load(start_ptr + user * M + d",
        "            w += tl.load(start_ptr + d",
        "start of another user",
    ),
    ("natpar", "mask=j < S, other=0.0", "mask=j < S - 1, other=0.0", "last event lost"),
    ("natpar", "used = weight != 0", "used = j < S", "padding read"),
    ("natpar", "edge <= kappa", "edge < kappa", "bin of an edge"),
    ("natpar", 'mask=e < E, other=float("inf")', 'mask=e < E - 1, other=float("inf")', "last edge lost"),
    ("natpar", "kappa += tl.sum", "kappa = tl.sum", "kappa of the last block"),
    ("natpar", "r += tl.sum", "r = tl.sum", "r of the last block"),
    ("natpar", "mean_ptr + user * M", "mean_ptr + 0 * M", "mean of another user"),
]
CASES = {"topk": topk_cases, "ridge": ridge_cases, "natpar": natpar_cases}


def main() -> None:
    shared.MODULES = MODULES
    if sys.argv[1:] != ["mutants"]:
        print(
            json.dumps(
                {name: error for cases in CASES.values() for name, error in cases(quick=False).items()}
            )
        )
        return
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, old, new, label in MUTANTS:
            right = MODULES[name].kernel
            shared.mutant(name, old, new, folder)
            try:
                errors = list(CASES[name](quick=True).values())
            except Exception:
                errors = [float("inf")]
            results[f"{name}: {label}"] = max(float("inf") if error != error else error for error in errors)
            MODULES[name].kernel = right
    print(json.dumps(results))


if __name__ == "__main__":
    main()
