"""Runs a command, and ends whatever it leaves behind, also when the process that asked for it is killed.

A script for `metarec_sdk.testing.supervised`; it imports nothing of the package, so that it runs at once:
``python supervisor.py PARENT COMMAND ...``, with the process id of whoever asks.

On Linux it is made the parent of every descendant whose own parent ends (``PR_SET_CHILD_SUBREAPER``, see
prctl(2)), so that one that leaves the session is found too. Elsewhere the command's process group is ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LOOK_S = 0.02
"""How often it looks whether the command has ended, and whether somebody still waits for it."""
CLEAN_S = 10.0
"""How long it goes on ending processes that start others."""


def main(parent: int, command: list[str]) -> int:
    """Exit code of the command, 128 and the signal's number if one ended it."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, _stop)
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # what is killed itself can't end anything
        os.execv(command[0], command)
    try:
        while os.getppid() == parent:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            time.sleep(LOOK_S)
        return 1
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_all(child)


def _stop(*_: Any) -> None:
    raise SystemExit(1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _end_all(group: int) -> None:
    """Kill every descendant; those of a process that ends become children of this one."""
    give_up = time.monotonic() + CLEAN_S
    with contextlib.suppress(ChildProcessError):  # there is no child any more
        while time.monotonic() < give_up:
            _kill_children(group)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(0.001)


def _kill_children(group: int) -> None:
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    if not listed.exists():  # not on Linux
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        return
    for process in listed.read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
