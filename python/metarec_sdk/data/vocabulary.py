"""The two-way map between external ids and dense indices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metarec_sdk.data.ids import id_series
from metarec_sdk.errors import ArgumentError, ArtefactError, ColumnError, DataError
from metarec_sdk.types import Int32

UNKNOWN = -1
"""The index of an id that the vocabulary doesn't hold."""

_FEW = 64
"""Up to this many ids are looked up in a dict: building a hash join for one id costs milliseconds."""


class Vocabulary:
    """Ids (all integers or all strings) and their indices ``0 … len - 1``; immutable.

    `from_ids` numbers the ids in sorted order, so that the same set gives the same indices whatever the order
    of the rows; `extend` puts new ids behind the old ones, whose indices stay.
    """

    __slots__ = ("_ids", "_index_of", "_offset", "_table")

    def __init__(self, ids: pl.Series) -> None:
        """A vocabulary over unique, non-null ids (Int64 or String) in the order of their indices."""
        self._ids = id_series(ids)
        if not (self._ids.is_unique().all()):
            twice = self._ids.filter(self._ids.is_duplicated())[0]
            raise DataError(f"ids of a vocabulary must be unique, {twice!r} is there more than once")
        self._index_of: dict[Any, int] | None = None
        self._table: Int32 | None = None
        self._offset = 0
        if self._ids.dtype == pl.Int64 and len(self._ids):
            self._build_table()

    def _build_table(self) -> None:
        """A direct-address table where ids are dense enough: a lookup is then one gather."""
        values = self._ids.to_numpy()
        low, high = int(values.min()), int(values.max())
        if _is_dense(low, high, len(values)):
            self._offset = low
            self._table = np.full(high - low + 1, UNKNOWN, np.int32)
            self._table[values - low] = np.arange(len(values), dtype=np.int32)

    @classmethod
    def from_ids(cls, ids: pl.Series | Iterable[Any]) -> Vocabulary:
        """The distinct ids in sorted order.

        Raises:
            DataError: for null or mixed ids, or integers beyond int64.
        """
        return cls(_distinct(id_series(ids)))

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> Vocabulary:
        """What `to_frame` gave: columns ``index`` (0 … len - 1, in any order) and ``id``.

        Raises:
            ArtefactError: where the columns aren't those, or the indices have gaps.
        """
        if set(frame.columns) != {"index", "id"}:
            raise ArtefactError(f"a vocabulary has the columns index and id, got {frame.columns}")
        ordered = frame.sort("index")
        if not np.array_equal(ordered["index"].to_numpy(), np.arange(len(ordered))):
            raise ArtefactError("the indices of a vocabulary must be 0 … n - 1, each once")
        try:
            return cls(ordered["id"])
        except DataError as error:
            raise ArtefactError(f"the vocabulary is damaged: {error}") from error

    def to_frame(self) -> pl.DataFrame:
        """Columns ``index`` (Int32) and ``id``, in the order of the indices."""
        return pl.DataFrame({"index": pl.Series(np.arange(len(self), dtype=np.int32)), "id": self._ids})

    @property
    def ids(self) -> pl.Series:
        """The ids in the order of their indices (Int64 or String)."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, value: object) -> bool:
        return value in self._dictionary()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._ids.equals(other._ids, check_dtypes=True)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} ids, {self._ids.dtype})"

    def extend(self, ids: pl.Series | Iterable[Any]) -> Vocabulary:
        """A vocabulary with the new ones among the ids put behind, sorted among themselves."""
        series = self._matching(ids)
        if len(series) == 0:
            return self
        new = series.unique().sort()
        new = new.filter(pl.Series(self.encode(new) == UNKNOWN))
        if len(self) == 0:
            return Vocabulary(new)
        return Vocabulary(pl.concat([self._ids, new])) if len(new) else self

    def encode(self, ids: pl.Series | Iterable[Any]) -> Int32:
        """i32[len(ids)], the index of each id, -1 where it isn't known.

        Raises:
            ColumnError: where strings are given to a vocabulary of integers or the other way round.
            DataError: for null or mixed ids.
        """
        series = self._matching(ids)
        if len(series) == 0 or len(self) == 0:
            return np.full(len(series), UNKNOWN, np.int32)
        if len(series) <= _FEW:
            index_of = self._dictionary()
            return np.fromiter((index_of.get(value, UNKNOWN) for value in series), np.int32, len(series))
        if self._table is not None:
            values = series.to_numpy()
            if values.min() >= self._offset and values.max() < self._offset + len(self._table):
                return np.asarray(self._table[values - self._offset])
            inside = (values >= self._offset) & (values < self._offset + len(self._table))
            # Ids outside are pointed at a known one first: subtracting the offset could overflow.
            found = self._table[np.where(inside, values, self._offset) - self._offset]
            return np.where(inside, found, np.int32(UNKNOWN))
        indices = pl.Series(np.arange(len(self), dtype=np.int32))
        found = series.replace_strict(self._ids, indices, default=UNKNOWN, return_dtype=pl.Int32)
        return np.asarray(found.to_numpy(), np.int32)

    def decode(self, indices: NDArray[Any] | Iterable[int]) -> pl.Series:
        """The ids at the given indices; -1 gives null.

        Raises:
            ArgumentError: for an index that is neither -1 nor in 0 … len - 1.
        """
        index = np.asarray(indices if hasattr(indices, "__array__") else list(indices))
        if index.size == 0:
            return self._ids.head(0)
        if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
            raise ArgumentError(f"indices must be one-dimensional integers, got {index.dtype}{index.shape}")
        outside = (index < UNKNOWN) | (index >= len(self))
        if outside.any():
            raise ArgumentError(f"index {index[outside][0]} is outside -1 … {len(self) - 1}")
        wanted = pl.Series(index.astype(np.int64))
        return self._ids.gather(wanted.set(wanted == UNKNOWN, None))  # a null index gathers null

    def _matching(self, ids: pl.Series | Iterable[Any]) -> pl.Series:
        series = id_series(ids)
        if len(series) and len(self) and series.dtype != self._ids.dtype:
            known, got = ("integers", "strings") if self._ids.dtype == pl.Int64 else ("strings", "integers")
            raise ColumnError(f"ids are {known} in this vocabulary, got {got}, e.g. {series[0]!r}")
        return series

    def _dictionary(self) -> dict[Any, int]:
        if self._index_of is None:
            self._index_of = {value: index for index, value in enumerate(self._ids.to_list())}
        return self._index_of


def _is_dense(low: int, high: int, count: int) -> bool:
    """Whether an array over all integers from low to high is worth its memory for so many of them."""
    return high - low < 4 * count + 65_536


def _distinct(ids: pl.Series) -> pl.Series:
    """The distinct ids, sorted; strings by their bytes."""
    if ids.dtype == pl.Int64 and len(ids):
        values = ids.to_numpy()
        low, high = int(values.min()), int(values.max())
        if _is_dense(low, high, len(values)):
            seen = np.zeros(high - low + 1, bool)
            seen[values - low] = True
            return pl.Series(ids.name, np.flatnonzero(seen) + low, pl.Int64)
    return ids.unique().sort()
