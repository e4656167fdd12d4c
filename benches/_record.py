"""What every benchmark shares: interleaved timing, facts about the machine, and a row in ``results/``.

Not a benchmark itself.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def interleaved(
    calls: Mapping[str, Callable[[], Any]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each call by the wall clock or another one, in turns, after one call each to warm up."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            started = clock()
            call()
            seconds[name].append(clock() - started)
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each call."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def machine(*packages: str) -> dict[str, str]:
    """Processor, instruction set of the core, and versions."""
    from metarec_sdk import _core

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    facts = {
        "processor": names[0] if names else platform.processor(),
        "cores": str(len(names)) if names else "",
        "isa": _core.isa(),
        "python": platform.python_version(),
    }
    return facts | {package: version(package) for package in ("metarec-sdk", "numpy", *packages)}


def append(bench: str, row: Mapping[str, Any]) -> None:
    """Add a row to ``results/<bench>.jsonl`` and print it."""
    FOLDER.mkdir(exist_ok=True)
    full = {"bench": bench, **row, "finished": datetime.now(UTC).isoformat(timespec="seconds")}
    with (FOLDER / f"{bench}.jsonl").open("a") as file:
        file.write(json.dumps(full) + "\n")
    print(json.dumps(row, indent=1))
