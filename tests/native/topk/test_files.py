"""Saved indices: the same bits when mapped, and every damaged file is refused."""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from metarec_sdk.errors import ArtefactError, StorageError
from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import TopK

RNG = np.random.default_rng(4)
MATRIX = RNG.standard_normal((700, 9)).astype(np.float32)
QUERIES = RNG.standard_normal((12, 9)).astype(np.float32)
BIAS = RNG.standard_normal(700).astype(np.float32)
TASKS = {"tasks": np.arange(12) % 3 - 1}
HEADER = 56


def built() -> ItemIndex:
    return ItemIndex(MATRIX, BIAS, np.stack([BIAS, -BIAS]), planes=["bf16", "int8", "int4"])


def same(a: TopK, b: TopK) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("offsets", "items", "scores"))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "items.index"
    built().save(path)
    return path


def test_a_mapped_index_gives_the_same_bits(saved: Path) -> None:
    index, mapped = built(), ItemIndex.load(saved, verify=True)
    assert (len(mapped), mapped.width, mapped.n_tasks, mapped.planes) == (700, 9, 2, index.planes)
    for path in ("fp32", *index.planes):
        expected = index.topk(QUERIES, 20, path=path, **TASKS)
        assert same(mapped.topk(QUERIES, 20, path=path, **TASKS), expected)


def test_versions_and_empty_indices_are_saved_too(tmp_path: Path) -> None:
    changed = built().append(MATRIX[:5], BIAS[:5], np.zeros((2, 5)))
    changed = changed.replace([2, 701], MATRIX[:2], BIAS[:2], np.zeros((2, 2)))
    changed.save(tmp_path / "changed")
    assert same(ItemIndex.load(tmp_path / "changed").topk(QUERIES, 9), changed.topk(QUERIES, 9))
    for shape in [(0, 3), (3, 0), (0, 0)]:
        ItemIndex(np.zeros(shape, np.float32)).save(tmp_path / "empty")
        empty = ItemIndex.load(tmp_path / "empty", verify=True)
        assert (len(empty), empty.width) == shape
        assert len(empty.topk(np.zeros((2, shape[1])), 2).items) == 2 * min(shape[0], 2)


def test_saving_over_a_mapped_file_leaves_its_readers_alone(saved: Path) -> None:
    mapped = ItemIndex.load(saved)
    before = mapped.topk(QUERIES, 5)
    ItemIndex(np.zeros((700, 9), np.float32)).save(saved)
    assert same(mapped.topk(QUERIES, 5), before)
    assert sorted(path.name for path in saved.parent.iterdir()) == ["items.index"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_ranks_a_mapped_index(saved: Path) -> None:
    mapped = ItemIndex.load(saved)
    expected = mapped.topk(QUERIES, 5)
    child = os.fork()
    if child == 0:
        os._exit(0 if same(mapped.topk(QUERIES, 5), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_every_bit_of_the_header_counts(saved: Path) -> None:
    content = saved.read_bytes()
    sections = struct.unpack_from("<I", content, 12)[0]
    for bit in range(8 * (HEADER + 24 * sections)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        saved.write_bytes(damaged)
        with pytest.raises(ArtefactError):
            ItemIndex.load(saved)


def test_flipped_content_is_found_when_asked(saved: Path) -> None:
    content = saved.read_bytes()
    table = [struct.unpack_from("<IIQQ", content, HEADER + 24 * i) for i in range(14)]
    rng = np.random.default_rng(0)
    for _, _, offset, length in table:
        for position in rng.integers(offset, offset + length, 12):
            damaged = bytearray(content)
            damaged[position] ^= 1 << int(rng.integers(8))
            saved.write_bytes(damaged)
            with pytest.raises(ArtefactError, match="checksums"):
                ItemIndex.load(saved, verify=True)
            with suppress(ArtefactError):  # without the check it may rank wrongly, and no more
                ItemIndex.load(saved).topk(QUERIES, 700)


def test_truncated_files_are_refused(saved: Path) -> None:
    content = saved.read_bytes()
    for length in [0, 1, 7, HEADER - 1, HEADER, HEADER + 23, len(content) // 2, len(content) - 1]:
        saved.write_bytes(content[:length])
        with pytest.raises(ArtefactError):
            ItemIndex.load(saved)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (16, 2**63),
        (16, 701),
        (24, 2**62),
        (24, 0),
        (32, 9),
        (36, 0),
        (36, 128),
        (HEADER + 8, 2**63),
        (HEADER + 8, 3),
    ],
)
def test_hostile_headers_with_right_checksums_are_refused(saved: Path, at: int, value: int) -> None:
    content = bytearray(saved.read_bytes())
    struct.pack_into("<Q" if at in (16, 24) or at > HEADER else "<I", content, at, value)
    _sign(content)
    saved.write_bytes(content)
    with pytest.raises(ArtefactError):
        ItemIndex.load(saved)


def test_an_order_that_points_outside_is_refused(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    _, _, offset, length = struct.unpack_from("<IIQQ", content, HEADER + 24)
    struct.pack_into("<I", content, offset, 700)
    struct.pack_into("<I", content, HEADER + 24 + 4, zlib.crc32(content[offset : offset + length]))
    _sign(content)
    saved.write_bytes(content)
    with pytest.raises(ArtefactError, match="don't fit together"):
        ItemIndex.load(saved)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="nothing"):
        ItemIndex.load(tmp_path / "nothing")
    with pytest.raises(StorageError, match="nowhere"):
        built().save(tmp_path / "nowhere" / "items.index")


def _sign(content: bytearray) -> None:
    sections = struct.unpack_from("<I", content, 12)[0]
    content[HEADER - 4 : HEADER] = bytes(4)
    struct.pack_into("<I", content, HEADER - 4, zlib.crc32(content[: HEADER + 24 * sections]))
