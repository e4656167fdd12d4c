"""The core takes exact arrays only and says which argument isn't one and how to convert it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metarec_sdk import _core


def unaligned() -> np.ndarray:
    return np.frombuffer(bytearray(4 * 6 + 1), np.uint8)[1:].view(np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    ("matrix", "got"),
    [
        ([[1.0]], "of type list"),
        (np.zeros((2, 3)), "dtype float64"),
        (np.zeros((2, 3), ">f4"), "dtype >f4"),
        (np.zeros(3, np.float32), r"shape \[3\]"),
        (np.zeros((2, 3), np.float32, order="F"), "not C-contiguous"),
        (np.zeros((2, 6), np.float32)[:, ::2], "not C-contiguous"),
        (unaligned(), "not C-contiguous and aligned"),
    ],
)
def test_anything_else_is_refused(matrix: Any, got: str) -> None:
    with pytest.raises(ValueError, match=f"matrix is .*{got}.*ascontiguousarray"):
        _core.ItemIndex(matrix)


def test_subclasses_and_read_only_arrays_are_taken() -> None:
    matrix = np.eye(3, dtype=np.float32)
    matrix.flags.writeable = False
    assert _core.ItemIndex(matrix).n_items == 3


def test_the_index_is_frozen() -> None:
    index = _core.ItemIndex(np.eye(3, dtype=np.float32))
    with pytest.raises(AttributeError):
        index.n_items = 4  # type: ignore[misc]
