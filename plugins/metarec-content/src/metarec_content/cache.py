"""Vectors on disk by the hash of what they were made of: one SQLite file, shared by processes."""

from __future__ import annotations

import hashlib
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
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
    found = cache.read(list(first)) if cache is not None and first else {}
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
    """Vectors by key in ``vectors.sqlite``, which processes and threads may share.

    Each vector is stored with a hash of it and its key; one that doesn't fit is encoded anew. Where the file
    grows beyond its bound, the oldest vectors go. A file that can't be used is told by a `DataWarning` and
    left alone: everything is then encoded anew.
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
        folder = platformdirs.user_cache_path("metarec-content") if where is True else Path(where)
        return cls(folder.expanduser(), mib)

    def read(self, keys: Sequence[bytes]) -> dict[bytes, Float32]:
        """The vectors f32[c] of those keys that are there."""
        found: dict[bytes, Float32] = {}

        def look_up(database: sqlite3.Connection) -> None:
            for start in range(0, len(keys), _CHUNK):
                some = keys[start : start + _CHUNK]
                query = f"SELECT key, vector, proof FROM vectors WHERE key IN ({','.join('?' * len(some))})"
                for key, vector, proof in database.execute(query, some):
                    if proof == _proof(key, vector):
                        found[key] = np.frombuffer(vector, "<f4").astype(np.float32)

        if self._path.exists():
            self._use(look_up)
        return found

    def write(self, vectors: Mapping[bytes, Float32]) -> None:
        """Store all of them or, where that fails, none."""
        rows = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]

        def store(database: sqlite3.Connection) -> None:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
                [(key, stored, _proof(key, stored)) for key, stored in rows],
            )
            while _size(database) > self._bytes and _oldest_go(database):
                pass
            database.execute("COMMIT")

        self._use(store)

    def _use(self, work: Callable[[sqlite3.Connection], None]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(
                sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None)
            ) as database:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS vectors "
                    "(key BLOB PRIMARY KEY, vector BLOB NOT NULL, proof BLOB NOT NULL)"
                )
                work(database)
        except (sqlite3.Error, OSError) as error:
            warnings.warn(
                f"the cache {self._path} can't be used ({error}), so vectors are encoded anew; delete it, or "
                "name another folder with cache=",
                DataWarning,
                stacklevel=2,
            )


def _size(database: sqlite3.Connection) -> int:
    """Bytes of the pages in use."""
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _oldest_go(database: sqlite3.Connection) -> bool:
    """Delete a tenth, at least one; whether there was one. A replaced row gets a new rowid."""
    oldest = "SELECT rowid FROM vectors ORDER BY rowid LIMIT (SELECT count(*) / 10 + 1 FROM vectors)"
    return database.execute(f"DELETE FROM vectors WHERE rowid IN ({oldest})").rowcount > 0


def _proof(key: bytes, vector: bytes) -> bytes:
    return hashlib.sha256(key + vector).digest()[:16]
