"""What the machine can do at most, measured in the same run, and what share of it somebody reached."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from topk.cells import Cell
from topk.contender import Contender

ROOT = Path(__file__).parents[2]

Ceilings = dict[str, list[float]]
"""Gop/s (a multiply-add counts twice) or, for "read", GB/s, on 1 and on 2 threads."""


def measure() -> Ceilings:
    """Run ``rust/metarec-core/examples/ceilings.rs``."""
    command = ["cargo", "run", "--quiet", "--release", "--package", "metarec-core", "--example", "ceilings"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: Ceilings = json.loads(done.stdout)
    return found


def rate(ceilings: Ceilings, what: str, isa: str, threads: int) -> float | None:
    """The ceiling of "fma", "int8" or "read" for the instruction set of the core, in operations or bytes a
    second; None where it wasn't measured."""
    wide = isa not in {"scalar", "avx2"}
    names = [what] if what == "read" else [f"{what} avx512", f"{what} avx2"] if wide else [f"{what} avx2"]
    for name in names:
        if name in ceilings:
            return ceilings[name][min(threads, 2) - 1] * 1e9
    return None


def limit(cell: Cell, contender: Contender, n: int, isa: str, ceilings: Ceilings) -> tuple[str, float] | None:
    """(the ceiling that binds, the seconds that it allows) for one of ours or an exact peer.

    One query reads every item once: the bytes of its format against the reading rate. A batch multiplies:
    int8 for us, fp32 for the others.
    """
    if cell.kind in {"build", "approximate"} or not contender.exact:
        return None
    if cell.batch == 1:
        if cell.kind == "warm":
            return None  # what fits into a cache is read faster than memory
        formats = {"metarec int8": 1.0, "metarec int4": 0.5}
        size = formats.get(contender.name) if contender.ours else 4.0
        reading = rate(ceilings, "read", isa, contender.threads)
        # Without a path named, ours may read either format.
        return None if reading is None or size is None else ("read", n * cell.width * size / reading)
    what = "int8" if contender.ours else "fma"
    multiplying = rate(ceilings, what, isa, contender.threads)
    return None if multiplying is None else (what, 2.0 * n * cell.width * cell.batch / multiplying)
