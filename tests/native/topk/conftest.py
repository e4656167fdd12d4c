"""Top-K in plain NumPy, bit for bit: the oracle that doesn't share a line with the Rust core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import TopK


def fused_multiply_add(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> NDArray[np.float32]:
    """f32 ``a · b + c`` rounded once.

    The product of two f32 is exact in f64. Its sum with c is made odd where it was inexact, so that the
    second rounding, to f32, can't go wrong (Boldo and Melquiond, Emulation of FMA and correctly rounded sums:
    proved algorithms using rounding to odd, 2008).
    """
    product = a.astype(np.float64) * b.astype(np.float64)
    addend = c.astype(np.float64)
    total = product + addend
    part = total - product
    error = (product - (total - part)) + (addend - part)
    even = total.view(np.int64) & 1 == 0
    nudged = np.nextafter(total, np.copysign(np.inf, error))
    return np.where((error != 0) & even, nudged, total).astype(np.float32)


def chain_scores(queries: NDArray[np.float32], matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """f32[b, n], each the chain of fused multiply-adds over the dimensions in order."""
    scores = np.zeros((len(queries), len(matrix)), np.float32)
    for k in range(matrix.shape[1]):
        scores = fused_multiply_add(
            np.broadcast_to(queries[:, k, None], scores.shape),
            np.broadcast_to(matrix[None, :, k], scores.shape),
            scores,
        )
    return scores


@dataclass
class Oracle:
    """Lists made by scoring everything, filtering and sorting."""

    matrix: NDArray[np.float32]
    bias: NDArray[np.float32] | None = None
    task_bias: NDArray[np.float32] | None = None

    def topk(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        exclude: Sequence[Sequence[int]] | None = None,
        allow: NDArray[np.bool_] | None = None,
        deny: NDArray[np.bool_] | None = None,
        boosts: Sequence[Sequence[tuple[int, float]]] | None = None,
        bias: NDArray[np.float32] | None = None,
        tasks: Sequence[int] | None = None,
    ) -> TopK:
        scores = chain_scores(queries, self.matrix)
        bias = self.bias if bias is None else bias
        scores = scores if bias is None else scores + bias
        admitted = np.ones(scores.shape, bool)
        for row in range(len(queries)):
            if self.task_bias is not None and tasks is not None and tasks[row] >= 0:
                scores[row] += self.task_bias[tasks[row]]
            for item, added in boosts[row] if boosts is not None else ():
                scores[row, item] += np.float32(added)
            if exclude is not None:
                admitted[row, list(exclude[row])] = False
        if allow is not None:
            admitted &= allow
        if deny is not None:
            admitted &= ~deny
        lists = []
        for row, passing in zip(scores, admitted):
            items = np.flatnonzero(passing)
            lists.append(items[np.argsort(-row[items], kind="stable")][:k])
        offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
        items = np.concatenate([np.empty(0, np.int64), *lists]).astype(np.int64)
        rows = np.repeat(np.arange(len(queries)), np.diff(offsets))
        return TopK(offsets, items, scores[rows, items])


PATHS = ("fp32", "bf16", "int8", "int4")


class Ranked:
    """An index that ranks by one path, where a matrix has such a copy."""

    def __init__(self, path: str, matrix: Any, bias: Any = None, task_bias: Any = None) -> None:
        self.index = ItemIndex(matrix, bias, task_bias, planes=["bf16", "int8", "int4"])
        self.path = path if path in self.index.planes else "fp32"

    def topk(self, queries: Any, k: int, **call: Any) -> TopK:
        return self.index.topk(queries, k, path=self.path, **call)


@pytest.fixture(params=PATHS)
def ranked(request: pytest.FixtureRequest) -> Callable[..., Ranked]:
    """Makes an index for every path in turn."""
    return partial(Ranked, request.param)


@pytest.fixture(scope="session")
def oracle() -> type[Oracle]:
    return Oracle
