"""What is measured: one cell is a workload, and everybody who takes part is timed on it in turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["batch", "seen", "cold", "warm", "approximate", "build"]

SIZES = {"own": 0, "10k": 10_000, "100k": 100_000, "1M": 1_000_000}
"""Catalogue sizes; "own" is that of the data set that the factors were trained on."""

OTHERS = ("isotropic", "unit", "outliers", "student", "offset")
"""Embeddings beside factors and their mixtures."""

SEEN = 60
"""Items left out for each user in the cells of kind "seen"."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One workload."""

    kind: Kind
    """batch: several queries; seen: the same with `SEEN` items of each left out; cold: one query on data that
    isn't in a cache; warm: one query, again and again; approximate: against approximate indices; build:
    making the index."""
    size: str
    """A name in `SIZES`."""
    width: int
    """d."""
    embedding: str = "mixture"
    """A name in `embeddings.EMBEDDINGS`."""
    batch: int = 1
    """b."""
    k: int = 10
    threads: int = 2
    """Threads that everybody may use; peers are timed with fewer too, where fewer are faster."""

    @property
    def name(self) -> str:
        """What ``--only`` looks at, unique, such as ``batch1024/100k/d64/k10/mixture``."""
        kind = self.kind if self.kind in {"cold", "warm", "build"} else f"{self.kind}{self.batch}"
        parts = [kind, self.size, f"d{self.width}", f"k{self.k}", self.embedding]
        if self.kind == "build":
            parts.remove(f"k{self.k}")
        return "/".join(parts if self.threads > 1 else [*parts, "1-thread"])

    @property
    def items(self) -> int:
        """n, or 0 for the data set's own."""
        return SIZES[self.size]


def full() -> list[Cell]:
    """Every regime that has a floor, on mixtures of trained factors; the other embeddings on some of them."""
    batches = [
        *(Cell("batch", "10k", d, batch=1024, k=k) for d in (64, 128) for k in (10, 100)),
        *(Cell("batch", "100k", d, batch=1024) for d in (64, 128, 256)),
        *(Cell("batch", "100k", d, batch=1024, k=100) for d in (64, 128)),
        *(Cell("batch", "1M", d, batch=1024) for d in (64, 128)),
        *(Cell("batch", size, d, batch=32) for size in ("10k", "100k", "1M") for d in (64, 128)),
    ]
    seen = [Cell("seen", size, 64, batch=1024) for size in ("10k", "100k", "1M")]
    single = [
        *(Cell("warm", size, d) for size in ("10k", "100k") for d in (64, 128)),
        *(Cell("cold", size, 128, threads=threads) for size in ("100k", "1M") for threads in (1, 2)),
    ]
    real = [
        *(Cell("batch", "own", d, "factors", batch=batch) for d in (64, 128) for batch in (1024, 32)),
        Cell("batch", "own", 64, "factors", batch=1024, k=100),
        Cell("seen", "own", 64, "factors", batch=1024),
        Cell("warm", "own", 64, "factors"),
    ]
    others = [
        cell
        for name in OTHERS
        for cell in (
            Cell("batch", "100k", 64, name, batch=1024),
            Cell("batch", "100k", 128, name, batch=1024),
            Cell("batch", "100k", 128, name, batch=32),
            Cell("warm", "100k", 64, name),
        )
    ]
    approximate = [
        Cell("approximate", "100k", 64, name, batch=batch)
        for name in ("mixture", "unit")
        for batch in (1024, 1)
    ]
    return in_order([*batches, *seen, *single, *real, *others, *approximate, Cell("build", "1M", 128)])


def quick() -> list[Cell]:
    """A few minutes: every kind of cell and embedding once, most of them small."""
    return in_order(
        [
            Cell("batch", "10k", 64, batch=1024),
            Cell("batch", "10k", 64, batch=32),
            Cell("batch", "100k", 64, batch=32),
            Cell("batch", "own", 64, "factors", batch=1024),
            Cell("seen", "10k", 64, batch=1024),
            Cell("warm", "10k", 64),
            Cell("cold", "100k", 128, threads=1),
            *(Cell("batch", "10k", 64, name, batch=1024) for name in OTHERS),
            *(Cell("approximate", "10k", 64, name, batch=1024) for name in ("mixture", "unit")),
            Cell("build", "100k", 64),
        ]
    )


def in_order(cells: list[Cell]) -> list[Cell]:
    """Cells on the same vectors follow each other, so that they are made once for each process."""
    return sorted(cells, key=lambda cell: (-cell.threads, cell.embedding, cell.items, cell.width, cell.kind))
