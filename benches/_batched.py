"""What the benchmarks of batched heads share: arguments, and threads that are set before the pools start.

Not a benchmark itself, and imported before NumPy and torch.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable


def parse(description: str) -> argparse.Namespace:
    """The arguments; every pool of threads gets ``--threads``, which it reads when it starts."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--items", type=int, default=3706, help="catalogue; ml-1m's unless given")
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu counts this process's CPU time, which other work disturbs less; for --threads 1",
    )
    arguments = parser.parse_args()
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "METAREC_NUM_THREADS"):
        os.environ[variable] = str(arguments.threads)
    return arguments


def clock(arguments: argparse.Namespace) -> Callable[[], float]:
    """The clock that was asked for, in seconds."""
    return time.perf_counter if arguments.clock == "wall" else time.process_time
