"""Who takes part in a cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Lists = np.ndarray[Any, np.dtype[Any]]
"""Item indices [b, k], best first."""

Call = Callable[[int], Any]
"""Work for the first so many users; the answer is `Lists` or a pair that begins with them, and anything in a
cell that isn't about lists."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who is timed."""

    name: str
    call: Call
    threads: int
    blas: int | None = None
    """BLAS threads, where they differ from ``threads``."""
    ours: bool = False
    seen: bool = False
    """Leaves the seen items out."""
    exact: bool = True
    note: str = ""
    """The setting that was chosen, for the record."""
    recall: float | None = None
    """Of the approximate ones, at that setting."""
