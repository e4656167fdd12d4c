"""Checks in a process of their own: a crash, an endless loop or a flood of memory ends only that process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarec_sdk.errors import ArgumentError, UnknownIdError
from metarec_sdk.testing.check import Check, Level, checks_of
from metarec_sdk.testing.report import Outcome, Result
from metarec_sdk.testing.supervised import supervised

if TYPE_CHECKING:
    from metarec_sdk.testing.subject import Subject

_WORKER = "import sys; from metarec_sdk.testing.worker import main; main(*sys.argv[1:])"

STARTS = 4
"""Processes that are started at most: after a crash the next one goes on with the remaining checks."""


@dataclass(frozen=True)
class Limits:
    """What the process may take."""

    seconds: float = 120.0
    """For one check. Before the first one, while the plugin is imported in other processes, twice that."""
    memory_gib: float = 16.0
    """Address space beyond what the process has at its start."""


def isolated_results(
    subject: Subject, kind: str | None, level: Level, limits: Limits
) -> tuple[str, list[Result]]:
    """(kind, results) of all checks of the subject up to a level.

    Raises `UnknownIdError` where the other process finds no such component.
    """
    if not subject.importable:
        raise ArgumentError("isolated=True needs plugins that are given by name or as files")
    done: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as folder:
        for start in range(STARTS):
            log = Path(folder) / f"{start}.jsonl"
            ending = _run(subject, kind, level, limits, sorted(done), log)
            lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
            for line in lines:
                if "unknown" in line:
                    raise UnknownIdError(line["unknown"])
                kind = line.get("kind", kind)
                if "outcome" in line:
                    result = Result(
                        line["check"],
                        Level(line["level"]),
                        Outcome(line["outcome"]),
                        line["message"],
                        line["seconds"],
                    )
                    done[result.check] = result
            if ending is None:
                break
            running = lines[-1].get("started") if lines else None
            if kind is None:
                raise UnknownIdError(f"{subject.name!r} can't be looked up: loading its plugin {ending}")
            todo = [each for each in _wanted(kind, level) if each.name not in done]
            failed = next((each for each in todo if each.name == running), todo[0] if todo else None)
            if failed is None:
                break
            done[failed.name] = Result(failed.name, failed.level, Outcome.FAILED, f"the check {ending}")
            if failed.level is Level.LOADS:
                break
    assert kind is not None
    return kind, [
        done.get(each.name, Result(each.name, each.level, Outcome.NOT_RUN, "the process ended before"))
        for each in _wanted(kind, level)
    ]


def _wanted(kind: str, level: Level) -> list[Check]:
    return [each for each in checks_of(kind) if each.level <= level]


def _run(
    subject: Subject, kind: str | None, level: Level, limits: Limits, done: list[str], log: Path
) -> str | None:
    """Run one process to its end; None if it finished, else what happened to it."""
    plugins: Any = subject.plugins
    given = (
        {name: str(value) for name, value in plugins.items()}
        if isinstance(plugins, dict)
        else [str(value) for value in plugins]
    )
    request = {
        "component": subject.name,
        "kind": kind,
        "plugins": given,
        "params": subject.params,
        "level": int(level),
        "done": done,
        "memory_gib": limits.memory_gib,
        "seconds": limits.seconds,
    }
    command = [sys.executable, "-c", _WORKER, json.dumps(request), str(log)]
    with supervised(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        return _watched(process, log, limits.seconds)


def _watched(process: subprocess.Popen[bytes], log: Path, seconds: float) -> str | None:
    size, since = -1, time.monotonic()
    while process.poll() is None:
        time.sleep(0.01)
        now = log.stat().st_size if log.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > (allowed := seconds if now > 0 else 2 * seconds):
            return f"didn't end within {allowed:g} s"
    text = log.read_text() if log.exists() else ""
    if text.endswith('"finished": true}\n'):
        return None
    return f"ended the process (exit code {process.returncode})"
