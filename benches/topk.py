"""Exact top-k against every peer, by regime: a table and a plot of where it wins and loses. (long)

    make bench-topk                               # the whole of it, about an hour on 2 cores
    python benches/topk.py --quick                # a few minutes
    python benches/topk.py --only 'warm/.*'       # cells whose name contains a match
    python benches/topk.py --resume               # go on with the last run where it was interrupted
    python benches/topk.py --render               # the table and the plot again, from the CSV

Contenders take turns in one process on the same vectors; figures are medians, ours on up to 2 threads
against the best of each peer's on 1 and 2 threads; cells that say so run on one thread, in a process of their
own. Our lists are compared with the reference bit by bit before anything is timed. What the machine can do at
most is measured in the same run. Rows go to ``benches/results/topk.csv``, the table and the plot to
``docs/``; those of ``--quick`` go to ``target/bench-topk``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRATCH = ROOT / "target" / "bench-topk"
THREADS = (2, 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small cells, short budgets")
    parser.add_argument("--only", metavar="REGEX", default="", help="cells whose name contains a match")
    parser.add_argument("--list", action="store_true", help="only list the cells")
    parser.add_argument("--seconds", type=float, help="for each contender in a cell; 2, or 0.2 if quick")
    parser.add_argument("--csv", type=Path, help="where the rows go instead")
    parser.add_argument("--docs", type=Path, help="the folder for the table and the plot")
    parser.add_argument("--resume", action="store_true", help="go on with the last run in the CSV")
    parser.add_argument("--render", action="store_true", help="only write the table and the plot")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = SCRATCH if arguments.quick else None
    arguments.csv = arguments.csv or (folder or ROOT / "benches" / "results") / "topk.csv"
    arguments.docs = arguments.docs or folder or ROOT / "docs"
    arguments.seconds = arguments.seconds or (0.2 if arguments.quick else 2.0)
    return arguments


def work(arguments: argparse.Namespace) -> None:
    """The cells of one thread count, in this process."""
    from topk import cells, measure, record

    found = [row for row in record.read(arguments.csv) if row["run"] == arguments.run]
    limits: dict[str, list[float]] = {}
    for row in found:
        if row["cell"].startswith("ceiling/"):
            limits.setdefault(row["contender"], []).append(float(row["rate"]))
    done = {row["cell"] for row in found}
    mode = "quick" if arguments.quick else "full"
    run = measure.Run(arguments.run, mode, arguments.csv, arguments.seconds, limits)
    for cell in cells.quick() if arguments.quick else cells.full():
        if (
            cell.threads == arguments.worker
            and re.search(arguments.only, cell.name)
            and cell.name not in done
        ):
            run.cell(cell)


def start(arguments: argparse.Namespace) -> str:
    """A new run, which begins with the ceilings, or the last one."""
    from topk import ceilings, record

    if arguments.resume:
        return record.read(arguments.csv)[-1]["run"]
    name = datetime.now(UTC).isoformat(timespec="seconds")
    about = record.circumstances(name, "quick" if arguments.quick else "full")
    measured = ceilings.measure()
    print(f"ceilings, Gop/s and GB/s on 1 and 2 threads: {json.dumps(measured)}", file=sys.stderr)
    rows = [
        {
            **about,
            "cell": f"ceiling/{what}",
            "contender": what,
            "ours": 0,
            "exact": 0,
            "threads": t,
            "rate": rate,
        }
        for what, rates in measured.items()
        for t, rate in enumerate(rates, start=1)
    ]
    record.append(arguments.csv, rows)
    return name


def main() -> None:
    arguments = parse()
    if arguments.worker:
        work(arguments)
        return
    if arguments.list:
        from topk import cells

        print("\n".join(cell.name for cell in (cells.quick() if arguments.quick else cells.full())))
        return
    if not arguments.render:
        from topk.threads import REFUSED, VARIABLES

        refused = [variable for variable in REFUSED if variable in os.environ]
        if refused:
            raise SystemExit(f"{refused[0]} is set, which slows peers down; run: make bench-topk")
        missing = [
            name for name in ("faiss", "hnswlib", "usearch", "implicit", "torch") if not find_spec(name)
        ]
        if missing:
            raise SystemExit(f"{missing[0]} is missing; run: pip install -e '.[dev,bench]'")
        run = start(arguments)
        for threads in THREADS:
            command = [sys.executable, __file__, *sys.argv[1:], "--worker", str(threads), "--run", run]
            environment = os.environ | dict.fromkeys(VARIABLES, str(threads))
            environment.pop("METAREC_TOPK_PATH", None)  # callers don't force a path; cells that do say so
            subprocess.run(command, env=environment, check=True)
    from topk import render

    render.write(arguments.csv, arguments.docs)


if __name__ == "__main__":
    main()
