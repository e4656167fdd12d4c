"""The item index: a packed item matrix and its exact top-K."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarec_sdk import _core
from metarec_sdk.errors import ArgumentError
from metarec_sdk.ranking.arguments import as_array, as_mask, as_rows, bounded
from metarec_sdk.types import Float32, Histories, Int32, Int64, TopK

if TYPE_CHECKING:
    from collections.abc import Callable

Rows: TypeAlias = Histories | tuple[ArrayLike, ArrayLike]
"""Items by row of the batch: histories, or (offsets i64[b + 1], items i32[e]) in any order, with repeats."""

Boosts: TypeAlias = tuple[ArrayLike, ArrayLike, ArrayLike]
"""(offsets i64[b + 1], items i32[e], added f32[e]): what goes on top of some items' scores."""

MAX_K = 10_000
"""Longest list that one call returns."""


class ItemIndex:
    """An immutable, packed copy of an item matrix, ranked exactly by inner product.

    The score of query ``q`` and item ``i`` is ``q · x_i``, summed over the dimensions in order by fused
    multiply-adds in f32, then ``+ bias[i]``, then ``+ task_bias[task, i]``, then ``+ boost``. Scores and
    order are the same bits on every machine, for every batch, filter and thread count. Equal scores are
    ordered by item index.

    Building copies the matrix: ``4 · n · (d + 1)`` bytes. Safe to use from many threads and after a fork.
    """

    __slots__ = ("_core",)

    def __init__(self, matrix: ArrayLike, bias: ArrayLike | None = None) -> None:
        """Pack an item matrix.

        Args:
            matrix: f32[n, d]; other numbers are converted. n and d may be 0.
            bias: f32[n], added to the items' scores; 0 when left out.

        Raises:
            ArgumentError: For a wrong shape or dtype, NaN or infinity.
        """
        rows = as_array("matrix", matrix, np.float32, 2)
        added = None if bias is None else as_array("bias", bias, np.float32, 1)
        self._core: _core.ItemIndex = _call(_core.ItemIndex, rows, added)

    @property
    def n_items(self) -> int:
        """n, the number of items."""
        return self._core.n_items

    @property
    def width(self) -> int:
        """d, the number of dimensions."""
        return self._core.width

    def __len__(self) -> int:
        return self.n_items

    def __repr__(self) -> str:
        return f"ItemIndex(n_items={self.n_items}, width={self.width})"

    def topk(
        self,
        queries: ArrayLike,
        k: int,
        *,
        exclude: Rows | None = None,
        allow: ArrayLike | None = None,
        deny: ArrayLike | None = None,
        boosts: Boosts | None = None,
        task_bias: ArrayLike | None = None,
        tasks: ArrayLike | None = None,
    ) -> TopK:
        """The k best admitted items of each query; a list is short where fewer are admitted.

        Args:
            queries: f32[b, d].
            k: List length, 0 to `MAX_K`. It may exceed the number of items.
            exclude: Items that each row must not get, such as its history.
            allow: bool[n] mask or array of item indices: only these come back. An empty one admits nothing.
            deny: bool[n] mask or array of item indices: these never come back, even if allowed or boosted.
            boosts: Scores to add to some items of each row, of any sign; repeats add up in the order given.
                A boost doesn't bring back an excluded or denied item.
            task_bias: f32[C, n], a bias for each task and item; needs ``tasks``.
            tasks: i32[b], the task of each row, -1 for none; needs ``task_bias``.

        Returns:
            Lists of b rows by descending score, then ascending item index.

        Raises:
            ArgumentError: For a wrong shape, dtype or index, NaN or infinity, magnitudes whose scores would
                overflow f32, or k out of range.
        """
        count = bounded("k", k, 0, MAX_K)
        query = as_array("queries", queries, np.float32, 2)
        if (task_bias is None) != (tasks is None):
            raise ArgumentError("task_bias and tasks go together; give both or neither")
        offsets, items, scores = _call(
            self._core.topk,
            query,
            count,
            None if exclude is None else as_rows("exclude", exclude),
            None if allow is None else as_mask("allow", allow, self.n_items),
            None if deny is None else as_mask("deny", deny, self.n_items),
            None if boosts is None else _boosts(boosts),
            None if task_bias is None else as_array("task_bias", task_bias, np.float32, 2),
            None if tasks is None else as_array("tasks", tasks, np.int32, 1),
        )
        return TopK(offsets, items, scores)

    def scores_at(self, queries: ArrayLike, rows: Rows) -> Float32:
        """The scores of given items for given queries, the same bits as `topk` returns without task or boost.

        Args:
            queries: f32[b, d].
            rows: The items wanted of each row, b rows with e items in all.

        Returns:
            f32[e], parallel to the items of ``rows``.

        Raises:
            ArgumentError: As for `topk`.
        """
        offsets, items = as_rows("rows", rows)
        scores: Float32 = _call(
            self._core.scores_at, as_array("queries", queries, np.float32, 2), offsets, items
        )
        return scores


def _boosts(boosts: Boosts) -> tuple[Int64, Int32, Float32]:
    if not isinstance(boosts, tuple) or len(boosts) != 3:
        raise ArgumentError("boosts must be a tuple (offsets i64[b + 1], items i32[e], added f32[e])")
    offsets, items, added = boosts
    return (
        as_array("boosts offsets", offsets, np.int64, 1),
        as_array("boosts items", items, np.int32, 1),
        as_array("boosts values", added, np.float32, 1),
    )


def _call(function: Callable[..., Any], *arguments: NDArray[Any] | tuple[Any, ...] | int | None) -> Any:
    """Call the core; what it refuses is the caller's argument."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise ArgumentError(str(error)) from None
