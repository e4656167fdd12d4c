"""The vectors that are ranked. Every one is a function of its name, n, d and a fixed seed.

========== ==================================================================================================
factors    iALS factors of a real log: the items' vectors, and the users' as queries
mixture    those scaled up: an item is (1 − t) φᵢ + t φⱼ with j among the ten items nearest to i by cosine and
           t uniform in [0, ½], plus normal noise of 0.3 of its length; the queries are users' factors
isotropic  standard normal items and queries: all norms alike, the worst case for bounds by norm
unit       n/100 random centres on the sphere; items and queries are a centre plus normal noise of length ½,
           cut back to length 1
outliers   isotropic, with the first four dimensions of the items times 20
student    entries of items and queries drawn from Student's t with 2.5 degrees of freedom
offset     isotropic items plus five times one standard normal vector, the same for all; isotropic queries
========== ==================================================================================================
"""

from __future__ import annotations

import sys
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from topk.cells import SEEN, Cell

QUERIES = 1024
CACHE = Path(__file__).parents[2] / "target" / "bench-topk"
"""Trained factors are kept here; deleting it costs half a minute."""

Float32 = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Vectors:
    """What a cell ranks."""

    items: Float32
    """f32[n, d]."""
    queries: Float32
    """f32[1024, d]."""
    source: str
    """The data behind it, or "generated"."""


def make(cell: Cell) -> Vectors:
    """The vectors of a cell: the same for the same embedding, n and d."""
    seed = [zlib.crc32(cell.embedding.encode()), cell.items, cell.width]
    items, queries, source = EMBEDDINGS[cell.embedding](cell.items, cell.width, np.random.default_rng(seed))
    return Vectors(np.ascontiguousarray(items, np.float32), np.ascontiguousarray(queries, np.float32), source)


def seen_items(vectors: Vectors, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """(offsets i64[b + 1], items i32[e]): for each user half of `SEEN` from their own best 300, where a
    filter has work to do, and half from anywhere."""
    from metarec_sdk.ranking import ItemIndex

    rng = np.random.default_rng(60)
    n = len(vectors.items)
    best = ItemIndex(vectors.items).topk(vectors.queries[:batch], 300).items.reshape(batch, 300)
    rows = [
        np.unique(
            np.concatenate([rng.choice(liked, SEEN // 2, replace=False), rng.integers(n, size=SEEN // 2)])
        )
        for liked in best
    ]
    return np.cumsum([0, *map(len, rows)]).astype(np.int64), np.concatenate(rows).astype(np.int32)


def trained(width: int) -> tuple[Float32, Float32, str]:
    """(items with an event f32[n, d], users f32[u, d], name of the data): iALS on ml-1m where it is in
    METAREC_DATA, else on MovieLens 100k, else factors that are made up (and named so)."""
    from metarec_sdk.data import datasets, encode
    from metarec_sdk.errors import MetarecError
    from metarec_sdk.heads.ials import Ials
    from metarec_sdk.types import TrainingLog

    name = "ml-1m" if "ml-1m" in datasets.available() else "movielens-100k"
    kept = CACHE / f"factors-{name}-{width}.npz"
    if kept.exists():
        with np.load(kept) as arrays:
            return arrays["items"], arrays["users"], name
    try:
        with warnings.catch_warnings(action="ignore"):
            log, _, _ = encode(datasets.load(name).interactions)
    except MetarecError as error:
        print(f"made-up factors, since {name} can't be had: {error}", file=sys.stderr)
        return *made_up(width), "made up"
    users, items = Ials(factors=width).train(
        TrainingLog(log.histories, log.n_items), np.random.default_rng(0)
    )
    items = items[np.abs(items).sum(axis=1) > 0]
    CACHE.mkdir(parents=True, exist_ok=True)
    np.savez(kept, items=items, users=users)
    return items, users, name


def made_up(width: int) -> tuple[Float32, Float32]:
    """Factors with a spectrum that falls off and lengths that vary, as trained ones have."""
    rng = np.random.default_rng(1)
    spectrum = 1 / np.sqrt(np.arange(1, width + 1))
    items = rng.lognormal(0, 0.7, (3500, 1)) * rng.standard_normal((3500, width)) * spectrum
    users = rng.standard_normal((6000, width)) * spectrum
    return items.astype(np.float32), users.astype(np.float32)


Made = tuple[np.ndarray, np.ndarray, str]


def factors(n: int, d: int, rng: np.random.Generator) -> Made:
    items, users, source = trained(d)
    return items, users[rng.choice(len(users), QUERIES, replace=len(users) < QUERIES)], source


def mixture(n: int, d: int, rng: np.random.Generator) -> Made:
    base, queries, source = factors(0, d, rng)
    unit = base / np.linalg.norm(base, axis=1, keepdims=True)
    near = np.argpartition(-(unit @ unit.T), 10, axis=1)[:, :10]  # [n0, 10]
    first = rng.integers(len(base), size=n)
    second = near[first, rng.integers(10, size=n)]
    weight = rng.random((n, 1), np.float32) / 2
    items = base[first] + weight * (base[second] - base[first])
    length = np.linalg.norm(items, axis=1, keepdims=True)
    items += length * np.float32(0.3 / np.sqrt(d)) * rng.standard_normal((n, d), np.float32)
    return items, queries, source


def isotropic(n: int, d: int, rng: np.random.Generator) -> Made:
    return rng.standard_normal((n, d), np.float32), rng.standard_normal((QUERIES, d), np.float32), "generated"


def unit(n: int, d: int, rng: np.random.Generator) -> Made:
    centres = rng.standard_normal((n // 100, d), np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)

    def around(count: int) -> np.ndarray:
        noise = np.float32(0.5 / np.sqrt(d)) * rng.standard_normal((count, d), np.float32)
        points = centres[rng.integers(len(centres), size=count)] + noise
        return points / np.linalg.norm(points, axis=1, keepdims=True)

    return around(n), around(QUERIES), "generated"


def outliers(n: int, d: int, rng: np.random.Generator) -> Made:
    items, queries, source = isotropic(n, d, rng)
    items[:, :4] *= 20
    return items, queries, source


def student(n: int, d: int, rng: np.random.Generator) -> Made:
    return rng.standard_t(2.5, (n, d)), rng.standard_t(2.5, (QUERIES, d)), "generated"


def offset(n: int, d: int, rng: np.random.Generator) -> Made:
    items, queries, source = isotropic(n, d, rng)
    return items + 5 * rng.standard_normal(d, np.float32), queries, source


EMBEDDINGS: dict[str, Callable[[int, int, np.random.Generator], Made]] = {
    "factors": factors,
    "mixture": mixture,
    "isotropic": isotropic,
    "unit": unit,
    "outliers": outliers,
    "student": student,
    "offset": offset,
}
