"""Vectors on disk by the hash of what they were made of: one SQLite file, shared by processes."""

from __future__ import annotations

import hashlib
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import platformdirs

from metarec_sdk.errors import ArgumentError, DataWarning
from metarec_sdk.types import Float32

_CHUNK = 256
"""Vectors that are written at once: as many are lost at most when a process ends."""
_WAIT_SECONDS = 60.0


def cached(
    contents: Sequence[bytes | None],
    identity: Callable[[], str],
    encode: Callable[[list[int]], Iterable[Float32]],
    cache: VectorCache | None,
) -> Float32:
    """f32[n, c], the vectors of n contents, each distinct one encoded once; 0 where it is None.

    ``identity`` names everything else on which a vector depends, ``encode`` gives the vectors f32[c] of rows.
    c = 1 where no content is known.
    """
    rows = [row for row, content in enumerate(contents) if content is not None]
    prefix = identity().encode() if rows else b""
    keys = {
        row: hashlib.sha256(prefix + hashlib.sha256(contents[row] or b"").digest()).digest() for row in rows
    }
    first = {key: row for row, key in reversed(keys.items())}
    found = dict(cache.read(list(first))) if cache is not None and first else {}
    missing = [key for key in sorted(first, key=first.__getitem__) if key not in found]
    made = iter(encode([first[key] for key in missing])) if missing else iter(())
    for start in range(0, len(missing), _CHUNK):
        chunk = {key: np.asarray(next(made), np.float32) for key in missing[start : start + _CHUNK]}
        if cache is not None:
            cache.write(chunk)
        found.update(chunk)
    width = next((len(vector) for vector in found.values()), 1)
    vectors = np.zeros((len(contents), width), np.float32)
    for row, key in keys.items():
        vectors[row] = found[key]
    return vectors


class VectorCache:
    """Vectors by key in ``vectors.sqlite``. Processes and threads may share it; a lost race costs an encoding.

    Each vector is stored with a hash of it and its key, and one that doesn't fit is taken for missing. When
    the vectors take more than the bound, the oldest ones go. A file that can't be used is told by a
    `DataWarning` and left alone: everything is then encoded anew.
    """

    def __init__(self, folder: Path, mib: int) -> None:
        self._path = folder / "vectors.sqlite"
        self._bytes = mib * 2**20

    @classmethod
    def at(cls, where: bool | str, mib: int) -> VectorCache | None:
        """That of an encoder's arguments ``cache`` and ``cache_mib``.

        False is none, True the user's cache folder (on Linux ``$XDG_CACHE_HOME/metarec-content``), a text a
        folder. Raises `ArgumentError` for ``mib`` < 1.
        """
        if mib < 1:
            raise ArgumentError(f"cache_mib must be ≥ 1, got {mib}")
        if where is False:
            return None
        folder = (
            platformdirs.user_cache_path("metarec-content") if where is True else Path(where).expanduser()
        )
        return cls(folder, mib)

    def read(self, keys: Sequence[bytes]) -> Iterator[tuple[bytes, Float32]]:
        """Keys that are there, and their vectors f32[c]."""
        if not self._path.exists():
            return
        with self._connection() as connection:
            for start in range(0, len(keys), 500):
                some = keys[start : start + 500]
                marks = ",".join("?" * len(some))
                query = f"SELECT key, vector, proof FROM vectors WHERE key IN ({marks})"
                for key, vector, proof in connection.execute(query, some).fetchall():
                    if proof == _proof(key, vector):
                        yield key, np.frombuffer(vector, "<f4").astype(np.float32)

    def write(self, vectors: Mapping[bytes, Float32]) -> None:
        """Store all of them or, where it fails, none."""
        rows = []
        for key, vector in vectors.items():
            stored = vector.astype("<f4").tobytes()
            rows.append((key, stored, _proof(key, stored), time.time()))
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)
            total = "(SELECT sum(length(vector)) FROM vectors)"
            longer = "SELECT key, sum(length(vector)) OVER (ORDER BY written DESC, key) AS newer FROM vectors"
            connection.execute(
                f"DELETE FROM vectors WHERE {total} > ?1 AND key IN (SELECT key FROM ({longer}) WHERE newer > ?1)",
                [self._bytes],
            )
            connection.execute("COMMIT")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None)
            connection.execute(
                "CREATE TABLE IF NOT EXISTS vectors "
                "(key BLOB PRIMARY KEY, vector BLOB NOT NULL, proof BLOB NOT NULL, written REAL NOT NULL)"
            )
            yield connection
        except (sqlite3.Error, OSError) as error:
            warnings.warn(
                f"the cache {self._path} can't be used ({error}), so vectors are encoded anew; delete it, or "
                "name another folder with cache=",
                DataWarning,
                stacklevel=2,
            )
        finally:
            if connection is not None:
                connection.close()


def _proof(key: bytes, vector: bytes) -> bytes:
    return hashlib.sha256(key + vector).digest()[:16]
