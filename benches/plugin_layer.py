"""What the plugin layer costs: a batch against a direct call, and the start with 50 installed plugins.

    OMP_NUM_THREADS=1 python benches/plugin_layer.py

One component is asked directly and through its guard (read-only arguments, checked results), in turns in one
process; the overhead is the difference of the lower deciles, since other work only adds to a time. The start
is that of a fresh interpreter: the import of metarec_sdk, then a `PluginManager` that finds, imports and
registers 50 generated distributions.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parent))
from _record import append, interleaved, machine

from metarec_sdk import hookimpl
from metarec_sdk.plugins import PluginManager
from metarec_sdk.plugins.guard import unguarded
from metarec_sdk.types import Histories, TopK, TrainingLog

ITEMS, LENGTH, DEPTH, K = 5000, 30, 80, 20


class Acme:
    """The built-ins as a stranger's components."""

    @hookimpl
    def metarec_register_backbones(self, register: Any) -> None:
        register("factors", "metarec_sdk.backbones.factors:Factors")

    @hookimpl
    def metarec_register_rerankers(self, register: Any) -> None:
        register("mmr", "metarec_sdk.ranking.mmr:MMR")


def histories_of(rows: int, rng: np.random.Generator) -> Histories:
    return Histories.from_lists(rng.integers(0, ITEMS, (rows, LENGTH)).tolist())


def candidates_of(rows: int, rng: np.random.Generator) -> TopK:
    items = np.concatenate([rng.permutation(ITEMS)[:DEPTH] for _ in range(rows)]).astype(np.int64)
    scores = -np.sort(-rng.normal(0, 1, (rows, DEPTH)).astype(np.float32), axis=1)
    return TopK(np.arange(rows + 1) * DEPTH, items, scores.ravel())


def calls(batch: int, repeats: int, before: ModuleType | None) -> dict[str, dict[str, float]]:
    """By component: microseconds of a direct and of a guarded call, and of one by an earlier guard."""
    rng = np.random.default_rng(1)
    manager = PluginManager({"acme": Acme()}, enabled=False)
    guarded = manager.create("backbone", "acme/factors"), manager.create("reranker", "acme/mmr")
    direct = unguarded(guarded[0]), unguarded(guarded[1])  # another instance would have its arrays elsewhere
    table = pl.DataFrame({"item_id": np.arange(ITEMS)})
    direct[0].fit(TrainingLog(histories_of(2000, rng), ITEMS), np.random.default_rng(2))
    direct[1].fit(table, direct[0].item_matrix())
    histories, candidates = histories_of(batch, rng), candidates_of(batch, rng)
    ways = {"direct": direct, "guarded": guarded}
    if before is not None:
        watches = [type(component)._watch for component in guarded]
        ways["before"] = tuple(before.guarded(*pair) for pair in zip(direct, watches))
    batches: dict[str, Callable[[Any], Any]] = {
        "factors.encode": lambda components: components[0].encode(histories),
        "mmr.rescore": lambda components: components[1].rescore(histories, candidates, K),
    }
    rows = {}
    for name, ask in batches.items():
        seconds = interleaved({way: partial(ask, components) for way, components in ways.items()}, repeats)
        found = {way: statistics.quantiles(values, n=10)[0] for way, values in seconds.items()}
        rows[name] = {f"{way}_us": round(1e6 * value, 1) for way, value in found.items()}
        for way, label in (("guarded", "overhead"), ("before", "overhead_before")):
            if way in found:
                rows[name][f"{label}_us"] = round(1e6 * (found[way] - found["direct"]), 1)
                rows[name][f"{label}_percent"] = round(100 * (found[way] / found["direct"] - 1), 2)
    return rows


def guard_at(revision: str) -> ModuleType:
    """`metarec_sdk.plugins.guard`, with what it calls, as it was at a revision of this repository."""
    parts = ("boundary", "read_only", "guard")
    for part in parts:
        path = f"python/metarec_sdk/plugins/{part}.py"
        command = ["git", "-C", str(Path(__file__).parent), "show", f"{revision}:{path}"]
        source = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for other in parts:
            source = source.replace(f"metarec_sdk.plugins.{other} ", f"{other}_before ")
        module = sys.modules[f"{part}_before"] = ModuleType(f"{part}_before")
        exec(compile(source, f"{revision}:{path}", "exec"), module.__dict__)
    return module


MODULE = """
import metarec_sdk

@metarec_sdk.hookimpl
def metarec_register_rerankers(register):
    register("it", "{module}.component:It", summary="One of many")

@metarec_sdk.hookimpl
def metarec_register_clusterers(register):
    register("it", "{module}.component:Tasks", summary="One of many")
"""

START = """
import json, sys, time
start = time.perf_counter()
sys.path.append(sys.argv[1])
import metarec_sdk
from metarec_sdk.plugins import PluginManager
from metarec_sdk.plugins.guard import unguarded
imported = time.perf_counter()
manager = PluginManager()
ready = time.perf_counter()
loaded = sum(record.name.startswith("many-") and record.status == "loaded" for record in manager.records)
print(json.dumps([imported - start, ready - imported, loaded]))
"""


def install(folder: Path, number: int) -> None:
    """A distribution as pip leaves it."""
    name, module = f"many-{number}", f"metarec_many_{number}"
    info = folder / f"metarec_many_{number}-1.0.dist-info"
    info.mkdir()
    (folder / module).mkdir()
    (folder / module / "__init__.py").write_text(MODULE.format(module=module))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: metarec-many-{number}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[metarec_sdk.v1]\n{name} = {module}\n")


def start(plugins: int, repeats: int) -> dict[str, float]:
    """Seconds of a fresh interpreter: the import, the manager without and with that many more plugins."""
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as full:
        for number in range(plugins):
            install(Path(full), number)
        seconds: dict[str, list[float]] = {"import": [], "without": [], "with": []}
        for repeat in range(repeats + 1):
            for name, folder, wanted in (("without", empty, 0), ("with", full, plugins)):
                command = [sys.executable, "-c", START, folder]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                imported, managed, loaded = json.loads(done.stdout)
                assert loaded == wanted, f"{loaded} of {wanted} plugins were loaded"
                if repeat:  # the first one writes byte code
                    seconds["import"].append(imported)
                    seconds[name].append(managed)
    return {name: round(statistics.median(values), 3) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--starts", type=int, default=9)
    parser.add_argument("--plugins", type=int, default=50)
    parser.add_argument("--before", metavar="REVISION", help="also the guard as it was then")
    arguments = parser.parse_args()
    before = guard_at(arguments.before) if arguments.before else None
    row = {
        "batch 1": calls(1, 10 * arguments.repeats, before),
        "batch 256": calls(256, arguments.repeats, before),
        f"start with {arguments.plugins} plugins, seconds": start(arguments.plugins, arguments.starts),
        "load": round(os.getloadavg()[0], 1),
        "before": arguments.before,
        "machine": machine("polars", "pluggy"),
    }
    append("plugin_layer", row)


if __name__ == "__main__":
    main()
