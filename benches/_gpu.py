"""What the benchmarks on a GPU share: timing in turns, eager and as CUDA graphs, and rows of a CSV.

Not a benchmark itself. Without a GPU the same code times a CPU, for a rehearsal.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FOLDER = Path(__file__).parent / "results"
Call = Callable[[], Any]
Row = dict[str, Any]


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    """f32, the same on every device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def fail(message: str) -> None:
    """Exit with the message."""
    sys.exit(f"check failed: {message}")


def need_a_gpu(rehearse: bool) -> None:
    """Exit without a CUDA device, unless this is a rehearsal."""
    if DEVICE == "cpu" and not rehearse:
        sys.exit("no CUDA device: this benchmark measures the GPU kernels; --rehearse runs it on a CPU")


def graph_of(call: Call) -> tuple[Any, Any]:
    """(graph, what the call returned inside it)."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call()
    return graph, out


def microseconds(calls: dict[str, Call], repeats: int) -> dict[str, list[float]]:
    """p20, median and p80 of each call, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            if DEVICE == "cuda":
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                call()
                end.record()
                torch.cuda.synchronize()
                taken[name].append(begin.elapsed_time(end) * 1e3)
            else:
                started = time.perf_counter()
                call()
                taken[name].append((time.perf_counter() - started) * 1e6)
    return {
        name: [float(torch.tensor(values).quantile(q)) for q in (0.2, 0.5, 0.8)]
        for name, values in taken.items()
    }


def measure(
    operation: str, case: str, calls: dict[str, Call], repeats: int = 20, *, graphs: bool = True
) -> list[Row]:
    """A row a formulation and mode; a formulation that can't be captured has no row for it."""
    rows = []
    for mode in ("eager", "graph") if DEVICE == "cuda" and graphs else ("eager",):
        timed = calls
        if mode == "graph":
            timed = {}
            for name, call in calls.items():
                try:
                    timed[name] = graph_of(call)[0].replay
                except RuntimeError as error:
                    torch.cuda.synchronize()
                    print(f"{operation} {case} {name}: no graph ({str(error).splitlines()[0]})", flush=True)
        for name, (low, middle, high) in microseconds(timed, repeats).items():
            row = {"operation": operation, "case": case, "formulation": name, "mode": mode}
            row |= {"p20_us": round(low, 1), "median_us": round(middle, 1), "p80_us": round(high, 1)}
            rows.append(row)
            print(*row.values(), sep="\t", flush=True)
    return rows


def record(bench: str, rows: list[Row]) -> None:
    """Append the rows to ``results/<bench>.csv`` with card, versions and date."""
    import triton

    facts = {
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{bench}.csv"
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *facts])
        if fresh:
            writer.writeheader()
        writer.writerows(row | facts for row in rows)
