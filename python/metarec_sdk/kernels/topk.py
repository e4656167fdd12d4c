"""Exact top-k on a GPU: the k items with the largest inner product, without a score matrix in memory.

``score(u, i) = q_u · x_i + bias_i``: queries q [b, m], items x [n, m], bias f32[n]; out come ids i64[b, k]
and scores f32[b, k] in the order of `metarec_sdk.ranking.ItemIndex`: descending score, equal scores by the
smaller id; -0.0 counts as 0.0. What is excluded, and what scores NaN or -∞, never comes back; a list that is
short for it ends in id -1 and score -∞.

Numerics: queries and items are fp32, bf16 or fp16; sums run in fp32. Unless
`torch.set_float32_matmul_precision` allows TF32, an fp32 product is the sum of three TF32 ones of its
operands' leading and trailing bits, which leaves out less than 2⁻²¹ of it (matrix units then do what would
otherwise be the slowest part), so that scores differ from those of `ItemIndex`, a chain of fused
multiply-adds, by at most ``(m + 4) 2⁻²³ Σ|q_j x_ij|``, and ids only where scores are closer than that. The
same inputs give the same bytes on every run of one device.

Source: a list and its order are one integer, the order-preserving bits of the score above the complement of
the id, as in the Rust core (`topk::exact::select`). Each program scores a block of queries against a chunk of
items, block by block (a GEMM with a fused selection: Johnson, Douze & Jégou, "Billion-scale similarity search
with GPUs", 2019, whose k-selection keeps a running threshold too): a score costs one comparison with the
smallest of the list so far, and only what is larger is taken out, one item of each row at a time. Excluded
items are looked up (binary search) only then. A second pass merges the chunks' lists by their integers.
A long list takes in many items before it is hard to enter, so torch finds those of a sample first: the k-th
best of a part is never better than that of all; less what rounding may change, it is where lists start.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor

from metarec_sdk.errors import ArgumentError
from metarec_sdk.kernels import launch

tl: Any = None  # triton.language once a kernel is built

Rows: TypeAlias = tuple[Tensor, Tensor]
"""Items by row of the batch: (offsets i64[b + 1], items i64[e]), in any order, with repeats."""

LONGEST_LIST = 128
"""k up to which the kernel runs; longer lists are scored by chunks and selected by torch."""
_SCORES_AT_ONCE = 1 << 24  # of the torch path
_SAMPLED_FROM = 17
"""k from which a sample's k-th best score spares more than it costs."""
_SAMPLE = 8  # one in so many items
_EMPTY = -2139095041 << 32  # the key of score -∞, below that of every item that is admitted
_ITEM_BITS = 0xFFFFFFFF
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def topk(
    queries: Tensor, items: Tensor, k: int, *, bias: Tensor | None = None, exclude: Rows | None = None
) -> tuple[Tensor, Tensor]:
    """(ids i64[b, k], scores f32[b, k]) from queries [b, m], items [n, m] and bias f32[n]; see the module.

    k may exceed n. exclude: items that each row must not get; ids outside of the catalogue are ignored.
    Queries and items must be finite, which isn't checked, as it would have to wait for the device; so aren't
    exclude's offsets on a GPU. Nothing is differentiable. Raises `ArgumentError` where shapes, dtypes or
    devices don't fit.
    """
    _check(queries, items, k, bias, exclude)
    offsets, excluded = (None, None) if exclude is None else exclude
    given = [None if value is None else value.detach() for value in (queries, items, bias)]
    ids, scores = topk_operator(given[0], given[1], k, given[2], offsets, excluded)
    return ids, scores


def topk_reference(
    queries: Tensor,
    items: Tensor,
    k: int,
    bias: Tensor | None,
    offsets: Tensor | None,
    excluded: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The same in plain torch, a chunk of items at a time; for any k."""
    b, n = len(queries), len(items)
    keys = torch.full((b, k), _EMPTY, dtype=torch.int64, device=queries.device)
    if offsets is not None and excluded is not None and not offsets.is_cuda:
        _check_offsets(offsets, len(excluded))
    for start, scores in _scores(queries, items, n, bias, offsets, excluded):
        w = scores.shape[1]
        found = _pack(scores, torch.arange(start, start + w, device=scores.device))
        keys = torch.cat([keys, found.topk(min(k, w), sorted=False).values], 1).topk(k).values
    return _unpack(keys)


def _scores(
    queries: Tensor,
    items: Tensor,
    n: int,
    bias: Tensor | None,
    offsets: Tensor | None,
    excluded: Tensor | None,
) -> Iterator[tuple[int, Tensor]]:
    """(start, scores f32[b, w]) of the first n items by chunks; excluded ones have -∞."""
    width = max(_SCORES_AT_ONCE // max(len(queries), 1), 1)
    queries = queries.float()
    for start in range(0, n, width):
        w = min(width, n - start)
        scores = queries @ items[start : start + w].float().T  # [b, w]
        if bias is not None:
            scores = scores + bias[start : start + w]
        if offsets is not None and excluded is not None:
            inside = (excluded >= start) & (excluded < start + w)
            scores = torch.nn.functional.pad(scores, (0, 1))  # a column for the items of other chunks
            at = torch.where(inside, excluded - start, w)
            scores = scores.index_put((_rows_of(offsets, excluded), at), scores.new_full((), -torch.inf))[
                :, :w
            ]
        yield start, scores


def _check(queries: Tensor, items: Tensor, k: int, bias: Tensor | None, exclude: Rows | None) -> None:
    if queries.ndim != 2 or items.ndim != 2 or queries.shape[1] != items.shape[1]:
        raise ArgumentError(
            f"queries must be [b, m] and items [n, m], got {list(queries.shape)} and {list(items.shape)}"
        )
    if queries.dtype != items.dtype or queries.dtype not in _DTYPES:
        raise ArgumentError(
            f"queries and items must both be float32, bfloat16 or float16, got {queries.dtype} and "
            f"{items.dtype}"
        )
    if k < 0:
        raise ArgumentError(f"k must be at least 0, got {k}")
    if len(items) >= 1 << 31:
        raise ArgumentError(f"items must be fewer than 2^31, got {len(items)}")
    if bias is not None and (bias.shape != (len(items),) or bias.dtype != torch.float32):
        raise ArgumentError(
            f"bias must be float32 [{len(items)}], one an item, got {bias.dtype} {list(bias.shape)}"
        )
    for name, value in zip(("exclude's offsets", "exclude's items"), exclude or ()):
        if value.dtype != torch.int64 or value.ndim != 1:
            raise ArgumentError(
                f"{name} must be int64 of one dimension, got {value.dtype} {list(value.shape)}"
            )
    if exclude is not None and len(exclude[0]) != len(queries) + 1:
        raise ArgumentError(
            f"exclude's offsets must have {len(queries) + 1} entries, one more than queries, got "
            f"{len(exclude[0])}"
        )
    others = [value for value in (items, bias, *(exclude or ())) if value is not None]
    if any(value.device != queries.device for value in others):
        raise ArgumentError(
            f"queries, items, bias and exclude must be on one device, got {queries.device} and "
            f"{[str(value.device) for value in others]}"
        )


def _check_offsets(offsets: Tensor, n_excluded: int) -> None:
    if offsets[0] != 0 or offsets[-1] != n_excluded or (offsets.diff() < 0).any():
        raise ArgumentError(
            f"exclude's offsets must ascend from 0 to the {n_excluded} items, got {int(offsets[0])} … "
            f"{int(offsets[-1])}"
        )


def _rows_of(offsets: Tensor, values: Tensor) -> Tensor:
    """i64[e], the row of each entry."""
    places = torch.arange(len(values), device=values.device)
    return torch.searchsorted(offsets, places, right=True) - 1


def _pack(scores: Tensor, ids: Tensor) -> Tensor:
    """i64[b, w], keys of scores f32[b, w] of the items i64[w]: larger is better, and no two are equal."""
    bits = torch.where(scores == 0, 0.0, scores).view(torch.int32).to(torch.int64)
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return torch.where(scores > -torch.inf, (ordered << 32) | (_ITEM_BITS - ids), _EMPTY)


def _unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """(ids, scores) of keys."""
    ordered = keys >> 32
    scores = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).to(torch.int32).view(torch.float32)
    ids = torch.where(scores > -torch.inf, _ITEM_BITS - (keys & _ITEM_BITS), -1)
    return ids, scores


@torch.library.custom_op("metarec::topk", mutates_args=())
def topk_operator(
    queries: Tensor,
    items: Tensor,
    k: int,
    bias: Tensor | None,
    offsets: Tensor | None,
    excluded: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """`topk` for compilers, and its dispatch."""
    if launch.runs_kernel(queries) and 0 < k <= LONGEST_LIST:
        return _launch(queries, items, k, bias, offsets, excluded)
    return topk_reference(queries, items, k, bias, offsets, excluded)


@topk_operator.register_fake
def _(queries: Tensor, items: Tensor, k: int, *rest: Any) -> tuple[Tensor, Tensor]:
    shape = queries.shape[0], k
    return queries.new_empty(shape, dtype=torch.int64), queries.new_empty(shape, dtype=torch.float32)


def sampled_floor(
    queries: Tensor,
    items: Tensor,
    k: int,
    bias: Tensor | None,
    offsets: Tensor | None,
    excluded: Tensor | None,
) -> Tensor:
    """f32[b], a score that each list's k-th one surely exceeds, from an eighth of the items."""
    sample = max(len(items) // _SAMPLE, k)
    best = [
        torch.where(scores.isnan(), -torch.inf, scores).topk(min(k, scores.shape[1]), sorted=False).values
        for _, scores in _scores(queries, items, sample, bias, offsets, excluded)
    ]
    floor = torch.cat(best, 1).topk(k).values[:, -1]
    # Of both ways to compute a score (Σ|q_j x_ij| ≤ |q| |x|), and of adding the bias.
    exact = torch.get_float32_matmul_precision() == "highest" or queries.dtype != torch.float32
    rounding = (queries.shape[1] + 4) * 2.0**-22 if exact else 2.0**-8
    widest = items[:sample].float().norm(dim=1).max()
    floor = floor - rounding * queries.float().norm(dim=1) * widest - 2.0**-21 * floor.abs()
    return torch.where(floor.isfinite(), floor.nextafter(torch.full_like(floor, -torch.inf)), -torch.inf)


def _launch(
    queries: Tensor,
    items: Tensor,
    k: int,
    bias: Tensor | None,
    offsets: Tensor | None,
    excluded: Tensor | None,
) -> tuple[Tensor, Tensor]:
    (b, m), n = queries.shape, len(items)
    floor = None
    if k >= _SAMPLED_FROM and n >= 2 * _SAMPLE * k:
        floor = sampled_floor(queries, items, k, bias, offsets, excluded)
    if offsets is not None and excluded is not None:
        # Sorted by row and item, so that offsets still hold and an item is found by halving.
        known = torch.where((excluded >= 0) & (excluded < n), excluded, n)
        excluded = ((_rows_of(offsets, excluded) << 32) | known).sort().values
        offsets = offsets.clamp(0, len(excluded))  # unchecked on a GPU, but nothing else may be read
        if not len(excluded):
            offsets = excluded = None
    block_q, block_i, block_d, warps = blocks(b, k, queries.dtype)
    precision = launch.dot_precision()
    row_blocks = -(-b // block_q)
    parts, chunk = _parts(n, row_blocks, block_i, _multiprocessors(queries.device))
    keys = torch.empty(b, parts, k, dtype=torch.int64, device=queries.device)
    if b:
        kernel()[(row_blocks, parts)](
            queries.contiguous(), items.contiguous(), bias, offsets, excluded, floor, keys, b, n, m, k, chunk,
            parts, HAS_BIAS=bias is not None, HAS_EXCLUDED=excluded is not None,
            HAS_FLOOR=floor is not None, BLOCK_Q=block_q, BLOCK_I=block_i, BLOCK_D=block_d,
            BLOCK_K=launch.power_of_two(k), EMPTY=_EMPTY,
            PRECISION="tf32x3" if precision == "ieee" else precision, num_warps=warps, num_stages=2,
            enable_fp_fusion=True, maxnreg=launch.MOST_REGISTERS,
        )  # fmt: skip
    return _unpack(keys.view(b, parts * k).topk(k).values)


def blocks(b: int, k: int, dtype: torch.dtype) -> tuple[int, int, int, int]:
    """(queries, items, dimensions, warps) of a program's tile: the largest that spills no register, of which
    long lists take their share."""
    queries = min(launch.power_of_two(b), 64 if k <= 16 else 32)
    return queries, 64, 64 // dtype.itemsize, 8


def _parts(n: int, row_blocks: int, block_i: int, multiprocessors: int) -> tuple[int, int]:
    """(chunks of items, items of a chunk): two programs a multiprocessor, and a multiple of the tile."""
    wanted = max(2 * multiprocessors // max(row_blocks, 1), 1)
    chunk = max(-(-n // (wanted * block_i)), 1) * block_i
    return max(-(-n // chunk), 1), chunk


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


@functools.cache
def kernel() -> Any:
    """The Triton kernel, built on first use."""
    global tl
    import triton
    import triton.language as tl

    @triton.jit
    def topk_kernel(
        q_ptr, x_ptr, bias_ptr, offsets_ptr, excluded_ptr, floor_ptr, keys_ptr, B, N, D, K, chunk, parts,
        HAS_BIAS: tl.constexpr, HAS_EXCLUDED: tl.constexpr, HAS_FLOOR: tl.constexpr, BLOCK_Q: tl.constexpr,
        BLOCK_I: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_K: tl.constexpr, EMPTY: tl.constexpr,
        PRECISION: tl.constexpr,
    ):  # fmt: skip
        row = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
        real = row < B
        part = tl.program_id(1)
        slot = tl.arange(0, BLOCK_K)
        column = tl.arange(0, BLOCK_I)
        # Places beyond k hold the largest key, so that they are never the worst of a list.
        keys = tl.where(slot < K, slot + tl.full((BLOCK_K,), EMPTY, tl.int64), 0x7FFFFFFFFFFFFFFF)
        keys = tl.broadcast_to(keys[None, :], (BLOCK_Q, BLOCK_K))
        least = tl.where(real, float("-inf"), float("inf"))
        if HAS_FLOOR:
            least = tl.load(floor_ptr + row, mask=real, other=float("inf"))
        floor = least  # what enters each list is larger
        first = row * 0
        last = row * 0
        if HAS_EXCLUDED:
            first = tl.load(offsets_ptr + row, mask=real, other=0).to(tl.int32)
            last = tl.load(offsets_ptr + row + 1, mask=real, other=0).to(tl.int32)
        end = tl.minimum(part * chunk + chunk, N)
        for start in range(part * chunk, end, BLOCK_I):
            item = start + column
            scores = tl.zeros((BLOCK_Q, BLOCK_I), tl.float32)
            for at in range(0, D, BLOCK_D):
                d = at + tl.arange(0, BLOCK_D)
                q = tl.load(
                    q_ptr + row[:, None].to(tl.int64) * D + d[None, :],
                    mask=real[:, None] & (d < D)[None, :],
                    other=0.0,
                )
                x = tl.load(
                    x_ptr + item[None, :].to(tl.int64) * D + d[:, None],
                    mask=(item < end)[None, :] & (d < D)[:, None],
                    other=0.0,
                )
                scores = tl.dot(q, x, scores, input_precision=PRECISION)
            if HAS_BIAS:
                scores += tl.load(bias_ptr + item, mask=item < end, other=0.0)[None, :]
            scores = tl.where(scores == 0, 0.0, scores)  # no -0.0
            scores = tl.where((item < end)[None, :] & (scores == scores), scores, float("-inf"))
            best = tl.max(scores, 1)
            # An item of a later place and the same score as the worst has the larger id: it stays out.
            while tl.max((best > floor).to(tl.int32), 0) > 0:
                place = tl.min(tl.where(scores == best[:, None], column[None, :], BLOCK_I), 1)
                scores = tl.where(column[None, :] == place[:, None], float("-inf"), scores)
                found = best > floor
                if HAS_EXCLUDED:
                    wanted = (row.to(tl.int64) << 32) | (start + place).to(tl.int64)
                    low = first
                    high = tl.where(found, last, first)
                    while tl.max(high - low, 0) > 0:
                        middle = low + (high - low) // 2
                        value = tl.load(excluded_ptr + middle, mask=low < high, other=0)
                        low = tl.where((low < high) & (value < wanted), middle + 1, low)
                        high = tl.where((low < high) & (value >= wanted), middle, high)
                    there = found & (low < last)
                    found = found & (tl.load(excluded_ptr + low, mask=there, other=-1) != wanted)
                bits = best.to(tl.int32, bitcast=True)
                ordered = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(tl.int64)
                key = (ordered << 32) | (0xFFFFFFFF - (start + place).to(tl.int64))
                worst = tl.min(keys, 1)
                keys = tl.where(found[:, None] & (keys == worst[:, None]), key[:, None], keys)
                ordered = (tl.min(keys, 1) >> 32).to(tl.int32)
                bits = tl.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered)
                floor = tl.maximum(bits.to(tl.float32, bitcast=True), least)
                best = tl.max(scores, 1)
        to = (row.to(tl.int64) * parts + part)[:, None] * K + slot[None, :]
        tl.store(keys_ptr + to, keys, mask=real[:, None] & (slot < K)[None, :])

    return topk_kernel
