"""The CSV of results: one row for each contender of a cell, written when the cell is finished."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from _record import machine

PEERS = ("torch", "implicit", "faiss-cpu", "usearch", "hnswlib", "scann")


@dataclass(frozen=True)
class Row:
    """One contender in one cell, or one ceiling; empty where something doesn't apply."""

    run: str
    date: str
    mode: str
    machine: str
    cores: str
    isa: str
    blas: str
    """Kernel of NumPy's BLAS."""
    python: str
    versions: str
    commit: str
    cell: str
    data: str
    n: int | str
    d: int | str
    batch: int | str
    k: int | str
    contender: str
    ours: int
    exact: int
    threads: int
    note: str
    users_timed: int | str
    calls: int | str
    median_ms: float | str
    min_ms: float | str
    ratio: float | str
    """Its median over ours."""
    agreement: float | str
    """Share of places with the same item as ours; for approximate ones the recall."""
    limit: str
    share: float | str
    """Of the ceiling named by ``limit``."""
    rescored_per_user: float | str
    rate: float | str
    """Of a ceiling: Gop/s or GB/s."""


def circumstances(run: str, mode: str) -> dict[str, Any]:
    """The part of a row that is the same for a whole run."""
    from importlib.metadata import PackageNotFoundError, version

    versions = []
    for package in ("metarec-sdk", "numpy", *PEERS):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} missing")
    facts = machine()
    return {
        "run": run,
        "mode": mode,
        "machine": facts["processor"],
        "cores": facts["cores"],
        "isa": facts["isa"],
        "blas": _blas(),
        "python": facts["python"],
        "versions": "; ".join(versions),
        "commit": _commit(),
    }


def _blas() -> str:
    from threadpoolctl import threadpool_info

    kernels = [
        f"{library['internal_api']} {library.get('version')} {library.get('architecture', '')}".strip()
        for library in threadpool_info()
        if library["user_api"] == "blas" and "numpy" in library["filepath"]
    ]
    return "; ".join(kernels)


def _commit() -> str:
    """The commit, with a + where code differs from it; the results themselves change during a run."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parents[2]), *words]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "rust", "python", "benches/topk", "benches/topk.py")
    return git("rev-parse", "--short", "HEAD") + "+" * bool(changed)


def append(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Add the rows of one finished cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists() or path.stat().st_size == 0
    empty = {field.name: "" for field in fields(Row)}
    date = datetime.now(UTC).isoformat(timespec="seconds")
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(empty), lineterminator="\n")
        if is_new:
            writer.writeheader()
        for row in rows:
            writer.writerow(asdict(Row(**{**empty, "date": date, **row})))


def read(path: Path) -> list[dict[str, str]]:
    """Every row, oldest first."""
    if not path.exists():
        raise SystemExit(f"{path} doesn't exist; run the benchmark first")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
