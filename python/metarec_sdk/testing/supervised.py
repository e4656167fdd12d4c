"""Processes that leave nothing behind, whatever they start and however this one ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_PATIENCE_S = 15.0


@contextmanager
def supervised(command: Sequence[str], *, pass_fds: Sequence[int] = (), **streams: Any) -> Iterator[Any]:
    """A `subprocess.Popen` whose end is that of the command, in a session of its own; all is over after it.

    What the command starts is ended with it, at the end of the block and also where this process is killed;
    on Linux also what leaves the command's session. ``streams``: ``stdout`` and ``stderr``.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_SUPERVISOR), str(os.getpid()), *command],
        pass_fds=pass_fds,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        **streams,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:  # stopped by what it watches
            process.kill()
            process.wait()
