"""The cache: what it spares, and what it survives."""

import multiprocessing
import sqlite3

import numpy as np
import polars as pl
import pytest

from metarec_content.cache import VectorCache, cached
from metarec_content.sentences import Sentences
from metarec_sdk.errors import ArgumentError, DataWarning

WIDTH = 8


def vector(content):
    return np.full(WIDTH, len(content), np.float32) + content[0]


def encode(contents, cache, identity="model 1"):
    """(vectors, rows that were encoded)."""
    asked: list[int] = []

    def make(rows):
        for row in rows:
            asked.append(row)
            yield vector(contents[row])

    return cached(contents, lambda: identity, make, cache), asked


@pytest.fixture
def cache(tmp_path):
    return VectorCache(tmp_path / "new" / "folder", 1)


def database(cache):
    return sqlite3.connect(cache._path)


def test_only_what_is_new_is_encoded(cache):
    contents = [f"text {number}".encode() for number in range(1000)]
    first, asked = encode(contents, cache)
    assert asked == list(range(1000))
    more = [b"new 1", *contents, None, b"new 2", b"new 1"]
    found, asked = encode(more, cache)
    assert asked == [0, 1002]
    np.testing.assert_array_equal(found[1:1001], first)
    np.testing.assert_array_equal(found[[0, 1003]], [vector(b"new 1")] * 2)
    assert not found[1001].any()
    assert encode(contents, cache, "model 2")[1] == list(range(1000))


def test_without_a_cache_equal_contents_are_encoded_once():
    found, asked = encode([b"a", None, b"b", b"a"], None)
    assert asked == [0, 2]
    np.testing.assert_array_equal(found, [vector(b"a"), np.zeros(WIDTH), vector(b"b"), vector(b"a")])


def test_without_contents_no_model_is_asked():
    found = cached([None, None], lambda: pytest.fail("no identity is needed"), pytest.fail, None)
    np.testing.assert_array_equal(found, np.zeros((2, 1), np.float32))
    assert len(cached([], lambda: "", pytest.fail, None)) == 0


@pytest.mark.parametrize("damage", ["zeroblob(32)", "substr(vector, 1, 16)", "x''"])
def test_an_altered_vector_is_encoded_anew(cache, damage):
    contents = [b"a", b"b", b"c"]
    first, _ = encode(contents, cache)
    with database(cache) as connection:
        connection.execute(f"UPDATE vectors SET vector = {damage} WHERE rowid = 2")
    connection.close()
    found, asked = encode(contents, cache)
    assert asked == [1]
    np.testing.assert_array_equal(found, first)
    assert encode(contents, cache)[1] == []


def test_vectors_of_two_keys_that_are_swapped_are_found_out(cache):
    encode([b"a", b"b"], cache)
    with database(cache) as connection:
        (one, two) = connection.execute("SELECT vector, proof FROM vectors").fetchall()
        connection.execute("UPDATE vectors SET vector = ?, proof = ? WHERE rowid = 1", two)
        connection.execute("UPDATE vectors SET vector = ?, proof = ? WHERE rowid = 2", one)
    connection.close()
    assert encode([b"a", b"b"], cache)[1] == [0, 1]


def test_a_file_that_is_no_database_is_told_and_left_alone(cache):
    cache._path.parent.mkdir(parents=True)
    cache._path.write_bytes(b"no database " * 100)
    with pytest.warns(DataWarning, match=r"vectors\.sqlite can't be used .*delete it"):
        found, asked = encode([b"a"], cache)
    assert asked == [0]
    np.testing.assert_array_equal(found, [vector(b"a")])
    assert cache._path.read_bytes() == b"no database " * 100


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(DataWarning, match="name another folder"):
        assert encode([b"a"], VectorCache(tmp_path / "file" / "folder", 1))[1] == [0]


def test_what_was_encoded_before_an_interruption_is_kept(cache):
    contents = [f"text {number}".encode() for number in range(600)]

    def make(rows):
        for row in rows:
            if row == 550:
                raise KeyboardInterrupt
            yield vector(contents[row])

    with pytest.raises(KeyboardInterrupt):
        cached(contents, lambda: "model 1", make, cache)
    assert encode(contents, cache)[1] == list(range(512, 600))


def test_the_oldest_go_when_it_is_full(cache):
    wide = {number: np.full(16_384, number, np.float32) for number in range(64)}  # 64 KiB each

    def run(numbers):
        asked = []

        def make(rows):
            asked.extend(numbers[row] for row in rows)
            return (wide[numbers[row]] for row in rows)

        cached([bytes([number]) for number in numbers], lambda: "", make, cache)
        return asked

    for number in range(64):
        run([number])
        # what SQLite needs beside the vectors is little, but is counted
        assert cache._path.stat().st_size <= 2**20 + 2 * 2**17
    assert run([63, 62, 61]) == []
    assert run([0]) == [0]


def work(folder, start):
    contents = [f"text {number}".encode() for number in range(start, start + 300)]
    encode(contents, VectorCache(folder, 1))


def test_processes_may_write_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(tmp_path, start)) for start in (0, 100, 200, 0)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    contents = [f"text {number}".encode() for number in range(500)]
    found, asked = encode(contents, VectorCache(tmp_path, 1))
    assert asked == []
    np.testing.assert_array_equal(found, [vector(content) for content in contents])


def test_nothing_is_written_unless_asked_and_then_where_users_expect_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    items = pl.DataFrame({"item_id": [1, 2], "title": ["red shoe", "warm hat"]})
    pytest.importorskip("wordllama")
    plain = Sentences().encode(items)
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(Sentences(cache=True).encode(items), plain)
    assert [file.name for file in tmp_path.rglob("*.sqlite*")] == ["vectors.sqlite"]
    again = Sentences(cache=True)
    monkeypatch.setattr(again, "_vectors", pytest.fail)
    np.testing.assert_array_equal(again.encode(items), plain)


def test_its_size_is_checked():
    with pytest.raises(ArgumentError, match="cache_mib must be ≥ 1, got 0"):
        Sentences(cache=True, cache_mib=0)
