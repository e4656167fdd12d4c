"""The Rust core. Arrays are C-contiguous and of exact dtype, else a ValueError names the argument."""

from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ItemIndex", "__version__", "isa", "threads"]

__version__: str

def isa() -> str: ...
def threads() -> int: ...

@final
class ItemIndex:
    def __new__(cls, matrix: NDArray[np.float32], bias: NDArray[np.float32] | None = None) -> ItemIndex: ...
    @property
    def n_items(self) -> int: ...
    @property
    def width(self) -> int: ...
    def topk(
        self,
        queries: NDArray[np.float32],
        k: int,
        exclude: tuple[NDArray[np.int64], NDArray[np.int32]] | None = None,
        allow: NDArray[np.bool_] | None = None,
        deny: NDArray[np.bool_] | None = None,
        boosts: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]] | None = None,
        task_bias: NDArray[np.float32] | None = None,
        tasks: NDArray[np.int32] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]: ...
    def scores_at(
        self, queries: NDArray[np.float32], offsets: NDArray[np.int64], items: NDArray[np.int32]
    ) -> NDArray[np.float32]: ...
