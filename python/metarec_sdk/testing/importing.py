"""Loads a plugin in a fresh interpreter and reports what that did to the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metarec_sdk.testing.supervised import supervised

TRIES = 3
"""A slow import is tried again: the machine may have been busy."""
LIMIT = 0.05
"""Seconds that importing and registering may take, on top of what metarec_sdk imports anyway."""


@dataclass(frozen=True)
class Imported:
    """What another process saw."""

    status: str = "failed"
    error: str | None = None
    seconds: float = 0.0
    torch: bool = False
    """Whether torch was imported."""
    printed: str = ""
    changed: list[str] = field(default_factory=list)
    """What is different in the process afterwards, beside the modules that were imported."""


def imported(plugin: str, plugins: Mapping[str, Any] | Iterable[Any], limit_s: float) -> Imported:
    """Load the plugin in a fresh interpreter, a few times if that is slow, and report the quickest."""
    best: Imported | None = None
    for _ in range(TRIES):
        found = _once(plugin, plugins, limit_s)
        if best is None or found.seconds < best.seconds:
            best = found
        if best.error or not LIMIT < best.seconds < 4 * LIMIT:  # so slow isn't owed to the machine
            break
    assert best is not None
    return best


def _once(plugin: str, plugins: Mapping[str, Any] | Iterable[Any], limit_s: float) -> Imported:
    given = (
        {name: str(value) for name, value in plugins.items()}
        if isinstance(plugins, Mapping)
        else [str(value) for value in plugins]
    )
    read, write = os.pipe()
    code = "import sys; from metarec_sdk.testing.importing import main; main(*sys.argv[1:])"
    command = [sys.executable, "-c", code, json.dumps([plugin, given]), str(write)]
    # Not a pipe: a child that the plugin leaves would hold it open.
    printed = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        with supervised(command, pass_fds=[write], stdout=printed, stderr=subprocess.STDOUT) as process:
            os.close(write)
            process.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        return Imported(error=f"importing it didn't end within {limit_s:g} s", seconds=limit_s)
    finally:
        with os.fdopen(read, encoding="utf-8") as pipe:  # closes the descriptor
            first = pipe.readline()
        with printed:
            printed.seek(0)
            output = printed.read()
    if not first:
        return Imported(error=f"importing it ended the process (exit code {process.returncode})")
    return Imported(**json.loads(first), printed=output.decode(errors="replace"))


def snapshot() -> dict[str, Any]:
    """What a plugin must leave alone."""
    import builtins
    import logging
    import random
    import signal
    import threading
    import warnings

    import numpy as np

    watched = [builtins, os, json, np, random, *_own_modules()]
    return {
        "the environment": dict(os.environ),
        "the working directory": str(Path.cwd()),
        "sys.path": list(sys.path),
        "warning filters": [str(one) for one in warnings.filters],
        "the state of random": hash(random.getstate()),
        "the state of numpy.random": np.random.get_state(legacy=False)["state"]["key"].tobytes(),  # noqa: NPY002
        "signal handlers": [str(signal.getsignal(number)) for number in signal.valid_signals()],
        "logging of the root logger": [str(logging.root.handlers), logging.root.level],
        "running threads": sorted(thread.name for thread in threading.enumerate()),
        "running processes": _children(),
        "standard streams": [id(sys.stdout), id(sys.stderr), id(sys.excepthook)],
        **{
            f"attributes of {module.__name__}": {name: id(value) for name, value in vars(module).items()}
            for module in watched
        },
    }


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of what isn't as it was; new attributes of a module don't count, other ones do."""
    changed = []
    for name, old in before.items():
        new = after[name]
        if name.startswith("attributes of "):
            names = [attribute for attribute, value in old.items() if new.get(attribute) != value]
            if names:
                changed.append(f"{name}: {', '.join(sorted(names)[:3])}")
        elif new != old:
            changed.append(name)
    return changed


def _own_modules() -> list[Any]:
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.partition(".")[0] in ("metarec_sdk", "pluggy") and module is not None
    ]


def _children() -> list[str]:
    tasks = Path("/proc/self/task")  # elsewhere than on Linux nothing is seen of processes
    if not tasks.is_dir():
        return []
    return [
        child
        for task in tasks.iterdir()
        if (task / "children").is_file()
        for child in (task / "children").read_text().split()
    ]


def main(request: str, pipe: str) -> None:
    """Load what the request names and write what was seen to the pipe, as one line of JSON."""
    import polars  # noqa: F401 - a recommender has imported it before it loads plugins

    from metarec_sdk.plugins import PluginManager
    from metarec_sdk.testing.alone import load_alone

    plugin, given = json.loads(request)
    own = os.getpid()
    PluginManager(enabled=False)  # the built-ins, so that their part isn't measured
    before = snapshot()
    manager = load_alone(plugin, given)
    if os.getpid() != own:  # the plugin forked, and this is the child
        os._exit(0)
    found = [record for record in manager.records if record.name == plugin]
    record = found[0] if found else None
    answer = {
        "status": str(record.status) if record else "missing",
        "error": record.error if record else f"there is no plugin {plugin!r}",
        "seconds": record.import_seconds if record else 0.0,
        "torch": "torch" in sys.modules,
        "changed": differences(before, snapshot()),
    }
    os.write(int(pipe), (json.dumps(answer) + "\n").encode())
