"""The Rust core. Arrays are C-contiguous and of exact dtype, else a ValueError names the argument."""

from os import PathLike
from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FactorSolver",
    "ItemIndex",
    "ItemNeighbours",
    "NatparTable",
    "__version__",
    "gram",
    "isa",
    "isas",
    "item_knn",
    "natpar_query",
    "symmetric_eigen",
    "threads",
    "transpose",
]

__version__: str

def isa() -> str: ...
def isas() -> list[str]: ...
def threads() -> int: ...

@final
class ItemIndex:
    def __new__(
        cls,
        matrix: NDArray[np.float32],
        bias: NDArray[np.float32] | None = None,
        task_bias: NDArray[np.float32] | None = None,
        planes: list[str] | None = None,
    ) -> ItemIndex: ...
    @staticmethod
    def load(path: str | PathLike[str], verify: bool) -> ItemIndex: ...
    def save(self, path: str | PathLike[str]) -> None: ...
    def append(
        self,
        rows: NDArray[np.float32],
        bias: NDArray[np.float32] | None = None,
        task_bias: NDArray[np.float32] | None = None,
    ) -> ItemIndex: ...
    def replace(
        self,
        items: NDArray[np.uint32],
        rows: NDArray[np.float32],
        bias: NDArray[np.float32] | None = None,
        task_bias: NDArray[np.float32] | None = None,
    ) -> ItemIndex: ...
    @property
    def n_items(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def n_tasks(self) -> int: ...
    @property
    def planes(self) -> list[str]: ...
    @property
    def nbytes(self) -> int: ...
    def topk(
        self,
        queries: NDArray[np.float32],
        k: int,
        exclude: tuple[NDArray[np.int64], NDArray[np.int32]] | None = None,
        allow: NDArray[np.bool_] | None = None,
        deny: NDArray[np.bool_] | None = None,
        boosts: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]] | None = None,
        bias: NDArray[np.float32] | None = None,
        tasks: NDArray[np.int32] | None = None,
        path: str | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]: ...
    def scores_at(
        self, queries: NDArray[np.float32], offsets: NDArray[np.int64], items: NDArray[np.int32]
    ) -> NDArray[np.float32]: ...

@final
class FactorSolver:
    def __new__(
        cls,
        factors: NDArray[np.float32],
        precision: NDArray[np.float32],
        *,
        unobserved_weight: float,
        exponent: float = 0.0,
    ) -> FactorSolver: ...
    def improve(
        self,
        offsets: NDArray[np.int64],
        items: NDArray[np.int32],
        weights: NDArray[np.float32],
        start: NDArray[np.float32],
        steps: int,
    ) -> NDArray[np.float32]: ...
    def solve(
        self,
        offsets: NDArray[np.int64],
        items: NDArray[np.int32],
        weights: NDArray[np.float32],
        targets: NDArray[np.float32] | None = None,
        prior_mean: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]: ...
    @property
    def n_items(self) -> int: ...
    @property
    def width(self) -> int: ...

def gram(table: NDArray[np.float32]) -> NDArray[np.float64]: ...

@final
class ItemNeighbours:
    def __new__(
        cls, offsets: NDArray[np.int64], items: NDArray[np.int32], values: NDArray[np.float32]
    ) -> ItemNeighbours: ...
    def boosts(
        self,
        offsets: NDArray[np.int64],
        items: NDArray[np.int32],
        weights: NDArray[np.float32],
        root: bool = False,
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]: ...

def item_knn(
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    n_items: int,
    neighbours: int,
    shrinkage: float,
    window: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]: ...
def natpar_query(
    r: NDArray[np.float64],
    kappa: NDArray[np.float64],
    prior_variance: NDArray[np.float32],
    edges: NDArray[np.float32],
    prior_mean: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]: ...

@final
class NatparTable:
    def __new__(cls, psi: NDArray[np.float32]) -> NatparTable: ...
    def state(
        self,
        offsets: NDArray[np.int64],
        items: NDArray[np.int32],
        weights: NDArray[np.float32],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

def symmetric_eigen(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def transpose(
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    weights: NDArray[np.float32],
    n_items: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]: ...
