"""The process that `metarec_sdk.testing.isolation` starts: runs checks, writes each result at once."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from metarec_sdk.errors import UnknownIdError
from metarec_sdk.testing.check import CHECKS, Level, Skip, checks_of
from metarec_sdk.testing.run import kind_of, run_one
from metarec_sdk.testing.subject import Subject


def main(request: str, log: str) -> None:
    """Run what the request asks for; the log has a line of JSON when a check starts and when it ends."""
    asked = json.loads(request)
    own = os.getpid()
    path = Path(log)

    def write(line: dict[str, Any]) -> None:
        if os.getpid() != own:  # the plugin forked, and this is the child
            os._exit(0)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    _limit_memory(asked["memory_gib"])
    subject = Subject(
        asked["kind"] or "",
        asked["component"],
        plugins=asked["plugins"],
        params=asked["params"],
        import_seconds=asked["seconds"] / 2,
    )
    loads = {check.name for check in CHECKS.values() if check.level is Level.LOADS}
    if not loads <= set(asked["done"]):  # a process that goes on after a crash has no need of it
        with contextlib.suppress(Skip):
            _ = subject.imported  # before this process imports the plugin: what that changes is inherited
    write({"imported": True})
    if not subject.kind:
        try:
            subject.kind = kind_of(subject)
        except UnknownIdError as error:
            write({"unknown": str(error)})
            write({"finished": True})
            return
    write({"kind": subject.kind})
    for check in checks_of(subject.kind):
        if check.level <= asked["level"] and check.name not in asked["done"]:
            write({"started": check.name})
            result = run_one(check, subject)
            write(
                {
                    "check": result.check,
                    "level": int(result.level),
                    "outcome": str(result.outcome),
                    "message": result.message,
                    "seconds": result.seconds,
                }
            )
    write({"finished": True})
    os._exit(0)  # whatever the plugin registered for the end of the process isn't run


def _limit_memory(gib: float) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    status = Path("/proc/self/statm")
    now = int(status.read_text().split()[0]) * resource.getpagesize() if status.exists() else 0
    limit = now + int(gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
