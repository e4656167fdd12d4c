"""Our side, and what shows that it is exact."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import TopK
from topk.cells import Cell
from topk.contender import Contender
from topk.embeddings import Vectors

HAS_PATHS = "path" in inspect.signature(ItemIndex.topk).parameters
"""Whether a path can be forced."""

SAMPLE_COST = 150_000_000
"""Multiply-adds that the oracle in NumPy may take for one set of vectors, some seconds."""

Seen = tuple[np.ndarray, np.ndarray]


def load_oracle() -> Any:
    """The oracle of the tests: fused multiply-adds in NumPy, not a line shared with the core."""
    path = Path(__file__).parents[2] / "tests" / "native" / "topk" / "conftest.py"
    spec = importlib.util.spec_from_file_location("topk_oracle", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is missing; the benchmark needs the oracle of the tests")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@dataclass
class Ours:
    """The index over one set of vectors, and the oracle's scores for the first of its queries."""

    vectors: Vectors
    index: ItemIndex = field(init=False)
    sample: np.ndarray = field(init=False)
    """f32[r, n], scores of the first r queries by the oracle."""

    def __post_init__(self) -> None:
        self.index = ItemIndex(self.vectors.items)
        rows = int(np.clip(SAMPLE_COST // self.vectors.items.size, 1, 64))
        self.sample = load_oracle().chain_scores(self.vectors.queries[:rows], self.vectors.items)

    def topk(
        self,
        users: int,
        cell: Cell,
        seen: Seen | None,
        path: str | None = None,
        index: ItemIndex | None = None,
    ) -> TopK:
        """Our lists for the first users."""
        options: dict[str, Any] = {"path": path} if path is not None else {}
        if seen is not None:
            offsets = seen[0][: users + 1]
            options["exclude"] = offsets, seen[1][: offsets[-1]]
        return (index or self.index).topk(self.vectors.queries[:users], cell.k, **options)

    def contenders(self, cell: Cell, seen: Seen | None) -> list[Contender]:
        """As callers get it; with the filter in a cell of that kind; each path of its own for one query."""

        def ours(name: str, filtered: Seen | None, path: str | None) -> Contender:
            index = self._index_with(path)
            return Contender(
                name,
                lambda users: self.topk(users, cell, filtered, path, index),
                cell.threads,
                ours=True,
                seen=filtered is not None,
                note="" if path is None else f"path={path}",
            )

        found = [ours("metarec", None, None)]
        if seen is not None:
            found.append(ours("metarec seen", seen, None))
        if HAS_PATHS and cell.kind == "cold":
            found += [ours(f"metarec {path}", None, path) for path in ("int8", "int4")]
        return found

    def _index_with(self, path: str | None) -> ItemIndex:
        """The index, or one that has the quantised copy of a path."""
        if path is None or "planes" not in inspect.signature(ItemIndex).parameters:
            return self.index
        options: dict[str, Any] = {"planes": [path]}
        return ItemIndex(self.vectors.items, **options)

    def check(self, cell: Cell, contender: Contender, seen: Seen | None) -> np.ndarray:
        """The lists [b, k] of one of ours, having compared ids and bits of the scores with the plain fp32
        scan where it can be forced, and with the oracle on the sample.

        Raises:
            SystemExit: for one difference.
        """
        found: TopK = contender.call(cell.batch)
        filtered = seen if contender.seen else None
        if HAS_PATHS:
            same(found, self.topk(cell.batch, cell, filtered, "fp32"), cell, contender.name, "the fp32 scan")
        rows = min(len(self.sample), cell.batch)
        for row in range(rows):
            scores = self.sample[row]
            admitted = np.ones(len(scores), bool)
            if filtered is not None:
                admitted[filtered[1][filtered[0][row] : filtered[0][row + 1]]] = False
            items = np.flatnonzero(admitted)
            # Everything that could be among the k best, ties too; then the order of the oracle.
            floor = np.partition(scores[items], -cell.k)[-cell.k]
            items = items[scores[items] >= floor]
            items = items[np.argsort(-scores[items], kind="stable")][: cell.k]
            expected = TopK(np.array([0, len(items)]), items, scores[items])
            start, stop = found.offsets[row], found.offsets[row + 1]
            part = TopK(expected.offsets, found.items[start:stop], found.scores[start:stop])
            same(part, expected, cell, contender.name, f"the oracle at query {row}")
        return np.asarray(found.items).reshape(cell.batch, cell.k)

    def rescored(self) -> float | None:
        """Items rescored in fp32 for each user in the last call, where the index tells."""
        told = getattr(self.index, "rescored_per_user", None)
        return None if told is None else float(told() if callable(told) else told)


def same(found: TopK, expected: TopK, cell: Cell, name: str, reference: str) -> None:
    """Stop the benchmark unless lists and bits are the same."""
    if not (
        np.array_equal(found.items, expected.items)
        and np.array_equal(
            np.asarray(found.scores, np.float32).view(np.int32),
            np.asarray(expected.scores, np.float32).view(np.int32),
        )
    ):
        raise SystemExit(f"{cell.name}: {name} differs from {reference}; nothing is recorded")
