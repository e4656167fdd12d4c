from numpy import bool_, float32, float64, int32, int64
from numpy.typing import NDArray
from typing import final

__version__: str

@final
class FactorSolver:
    def __new__(
        cls,
        factors: NDArray[float32],
        precision: NDArray[float32],
        *,
        unobserved_weight: float,
        exponent: float = 0.0,
    ) -> FactorSolver: ...
    def solve(
        self,
        offsets: NDArray[int64],
        items: NDArray[int32],
        weights: NDArray[float32],
        targets: NDArray[float32] | None = None,
        prior_mean: NDArray[float32] | None = None,
    ) -> NDArray[float32]: ...
    @property
    def n_items(self) -> int: ...
    @property
    def width(self) -> int: ...

def gram(table: NDArray[float32]) -> NDArray[float64]: ...
def item_item_boosts(
    offsets: NDArray[int64],
    items: NDArray[int32],
    weights: NDArray[float32],
    neighbour_offsets: NDArray[int64],
    neighbour_items: NDArray[int32],
    neighbour_values: NDArray[float32],
    root: bool = False,
) -> tuple[NDArray[int64], NDArray[int32], NDArray[float32]]: ...
def item_knn(
    offsets: NDArray[int64],
    items: NDArray[int32],
    n_items: int,
    neighbours: int,
    shrinkage: float,
    window: int | None = None,
) -> tuple[NDArray[int64], NDArray[int32], NDArray[float32]]: ...
def natpar_query(
    r: NDArray[float64],
    kappa: NDArray[float64],
    prior_variance: NDArray[float32],
    edges: NDArray[float32],
    prior_mean: NDArray[float32] | None = None,
) -> NDArray[float32]: ...
def natpar_state(
    offsets: NDArray[int64],
    items: NDArray[int32],
    weights: NDArray[float32],
    psi: NDArray[float32],
) -> tuple[NDArray[float64], NDArray[float64]]: ...
def symmetric_eigen(matrix: NDArray[float64]) -> tuple[NDArray[float64], NDArray[float64]]: ...
def transpose(
    offsets: NDArray[int64],
    items: NDArray[int32],
    weights: NDArray[float32],
    n_items: int,
) -> tuple[NDArray[int64], NDArray[int32], NDArray[float32]]: ...
