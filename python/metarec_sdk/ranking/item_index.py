"""The item index: an item matrix and its exact top-K."""

from __future__ import annotations

from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarec_sdk import _core
from metarec_sdk.errors import ArgumentError, ArtefactError, StorageError
from metarec_sdk.ranking.arguments import as_array, as_mask, as_rows, bounded
from metarec_sdk.types import Float32, Histories, Int32, Int64, TopK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Rows: TypeAlias = Histories | tuple[ArrayLike, ArrayLike]
"""Items by row of the batch: histories, or (offsets i64[b + 1], items i32[e]) in any order, with repeats."""

Boosts: TypeAlias = tuple[ArrayLike, ArrayLike, ArrayLike]
"""(offsets i64[b + 1], items i32[e], added f32[e]): what goes on top of some items' scores."""

MAX_K = 10_000
"""Longest list that one call returns."""


Precision: TypeAlias = Literal["bf16", "int8", "int4"]
"""What a quantised copy of the items is stored in."""

Path: TypeAlias = Literal["fp32", "bf16", "int8", "int4"]
"""A way to the lists; all give the same bits."""


class ItemIndex:
    """An item matrix, ranked exactly by inner product.

    The score of query ``q`` and item ``i`` is ``q · x_i``, summed over the dimensions in order by fused
    multiply-adds in f32, then ``+ bias[i]``, then ``+ task_bias[task, i]``, then ``+ boost``. Scores and
    order are the same bits on every machine, for every batch, filter, path and thread count. Equal scores are
    ordered by item index.

    The matrix isn't copied: the index refers to it, and keeps a quantised copy beside it, about a quarter of
    its size, whose scores come with a proven bound; only items whose bound reaches the list are scored from
    the matrix itself. **Don't write into the matrix while the index is in use**: what changes there is not
    seen by the copy.

    Immutable otherwise: `append` and `replace` give a new version that shares most of its memory with the old
    one, which other threads go on using. Safe to use from many threads and after a fork.
    """

    __slots__ = ("_core",)

    def __init__(
        self,
        matrix: ArrayLike,
        bias: ArrayLike | None = None,
        task_bias: ArrayLike | None = None,
        *,
        planes: Sequence[Precision] | None = None,
    ) -> None:
        """Index an item matrix.

        Args:
            matrix: f32[n, d], C-contiguous; anything else is converted, which copies. n and d may be 0.
            bias: f32[n], added to the items' scores; 0 when left out. Copied.
            task_bias: f32[C, n], a bias for each task and item, for calls with ``tasks``. Copied.
            planes: The quantised copies to make, for tests and measurements; what pays when left out.

        Raises:
            ArgumentError: For a wrong shape or dtype, NaN or infinity.
        """
        rows = as_array("matrix", matrix, np.float32, 2)
        names: list[str] | None = None if planes is None else list(planes)
        self._core: _core.ItemIndex = _call(_core.ItemIndex, rows, *_biases(bias, task_bias), names)

    @classmethod
    def load(cls, path: str | PathLike[str], *, verify: bool = False) -> ItemIndex:
        """An index saved by `save`, mapped into memory: its pages are read when they are needed, and shared
        with other processes.

        Args:
            path: The file.
            verify: Read all of it and compare with its checksums. Without, only the header and the small
                parts are compared.

        Raises:
            ArtefactError: If the file is missing, truncated, altered or of another version.
        """
        try:
            return cls._of(_core.ItemIndex.load(fspath(path), verify))
        except OSError as error:
            raise ArtefactError(str(error)) from None

    def save(self, path: str | PathLike[str]) -> None:
        """Write the index and its rows to a file, which appears whole or not at all.

        Raises:
            StorageError: If it can't be written.
        """
        try:
            self._core.save(fspath(path))
        except OSError as error:
            raise StorageError(str(error)) from None

    def append(
        self, rows: ArrayLike, bias: ArrayLike | None = None, task_bias: ArrayLike | None = None
    ) -> ItemIndex:
        """A new version with j more items, numbered from n on; this one stays as it is.

        Takes time in proportion to j, amortised: small additions are merged as they grow.

        Args:
            rows: f32[j, d], copied.
            bias: f32[j], if the index has a bias.
            task_bias: f32[C, j], if the index has one.

        Raises:
            ArgumentError: As for the constructor.
        """
        values = as_array("rows", rows, np.float32, 2)
        return self._of(_call(self._core.append, values, *_biases(bias, task_bias)))

    def replace(
        self,
        items: ArrayLike,
        rows: ArrayLike,
        bias: ArrayLike | None = None,
        task_bias: ArrayLike | None = None,
    ) -> ItemIndex:
        """A new version in which some items have other rows; this one stays as it is.

        Args:
            items: i64[j], ascending, each once.
            rows: f32[j, d], copied.
            bias: f32[j], if the index has a bias.
            task_bias: f32[C, j], if the index has one.

        Raises:
            ArgumentError: As for the constructor, and for items out of range or out of order.
        """
        ids = as_array("items", items, np.int64, 1)
        if len(ids) and not 0 <= ids.min() <= ids.max() < self.n_items:
            raise ArgumentError(
                f"items must be from 0 to below {self.n_items}, got {ids.min()} to {ids.max()}"
            )
        values = as_array("rows", rows, np.float32, 2)
        if len(values) != len(ids):
            raise ArgumentError(f"rows has {len(values)} rows, expected {len(ids)}, one an item")
        return self._of(_call(self._core.replace, ids.astype(np.uint32), values, *_biases(bias, task_bias)))

    @classmethod
    def _of(cls, core: _core.ItemIndex) -> ItemIndex:
        index = cls.__new__(cls)
        index._core = core
        return index

    @property
    def n_items(self) -> int:
        """n, the number of items."""
        return self._core.n_items

    @property
    def width(self) -> int:
        """d, the number of dimensions."""
        return self._core.width

    @property
    def n_tasks(self) -> int:
        """C, the number of tasks with a bias of their own."""
        return self._core.n_tasks

    @property
    def planes(self) -> list[str]:
        """The precisions of the quantised copies."""
        return self._core.planes

    @property
    def nbytes(self) -> int:
        """Bytes of the index, without the matrix that it was built over."""
        return self._core.nbytes

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
        bias: ArrayLike | None = None,
        tasks: ArrayLike | None = None,
        path: Path | None = None,
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
            bias: f32[n], the items' bias of this call, instead of the index's own.
            tasks: i32[b], the task of each row, whose bias the index adds; -1 for none.
            path: Force the way to the lists, for tests and measurements; what is cheapest when left out, or
                what the environment variable ``METAREC_TOPK_PATH`` names.

        Returns:
            Lists of b rows by descending score, then ascending item index.

        Raises:
            ArgumentError: For a wrong shape, dtype or index, NaN or infinity, magnitudes whose scores would
                overflow f32, or k out of range.
        """
        count = bounded("k", k, 0, MAX_K)
        query = as_array("queries", queries, np.float32, 2)
        offsets, items, scores = _call(
            self._core.topk,
            query,
            count,
            None if exclude is None else as_rows("exclude", exclude),
            None if allow is None else as_mask("allow", allow, self.n_items),
            None if deny is None else as_mask("deny", deny, self.n_items),
            None if boosts is None else _boosts(boosts),
            None if bias is None else as_array("bias", bias, np.float32, 1),
            None if tasks is None else as_array("tasks", tasks, np.int32, 1),
            path,
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


def _biases(bias: ArrayLike | None, task_bias: ArrayLike | None) -> tuple[Float32 | None, Float32 | None]:
    return (
        None if bias is None else as_array("bias", bias, np.float32, 1),
        None if task_bias is None else as_array("task_bias", task_bias, np.float32, 2),
    )


def _boosts(boosts: Boosts) -> tuple[Int64, Int32, Float32]:
    if not isinstance(boosts, tuple) or len(boosts) != 3:
        raise ArgumentError("boosts must be a tuple (offsets i64[b + 1], items i32[e], added f32[e])")
    offsets, items, added = boosts
    return (
        as_array("boosts offsets", offsets, np.int64, 1),
        as_array("boosts items", items, np.int32, 1),
        as_array("boosts values", added, np.float32, 1),
    )


def _call(
    function: Callable[..., Any], *arguments: NDArray[Any] | tuple[Any, ...] | list[str] | str | int | None
) -> Any:
    """Call the core; what it refuses is the caller's argument."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise ArgumentError(str(error)) from None
