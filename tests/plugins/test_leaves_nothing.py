"""A check leaves no process behind: not one that left its session, and none where the check is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metarec_sdk.testing import Level, run_checks

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a session that is left is lost"),
    pytest.mark.timed,
]

PLUGIN = """
import os
import sys
import time

import metarec_sdk


def tell(name):
    with open(os.path.join({folder!r}, name + ".part"), "w") as file:
        file.write(str(os.getpid()))
    os.rename(file.name, os.path.join({folder!r}, name))


def leave():
    '''A process in a session of its own, whose parent is gone.'''
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            tell("left")
            time.sleep(60)
        os._exit(0)
    os.wait()


def act(where):
    if where == {where!r}:
        leave()
        while not os.path.exists(os.path.join({folder!r}, "left")):
            time.sleep(0.01)
        if {hangs!r}:
            tell("hangs")
            started = time.monotonic()
            while time.monotonic() < started + 60:
                pass


class Rule:
    '''Forbids nothing.'''

    def fit(self, items, vectors):
        act("fit")

    def forbidden(self, histories, candidates):
        return candidates.scores != candidates.scores


@metarec_sdk.hookimpl
def metarec_register_rules(register):
    act("registration")
    register("it", Rule, summary="Forbids nothing")
"""
CHECK = """
import sys
from metarec_sdk.testing import run_checks
run_checks("mine/it", plugins=[sys.argv[1]])
"""


def written(folder: Path, *, where: str, hangs: bool) -> Path:
    path = folder / "mine.py"
    path.write_text(PLUGIN.format(folder=str(folder), where=where, hangs=hangs))
    return path


def runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition, seconds: float) -> bool:
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(("where", "level"), [("registration", Level.LOADS), ("fit", Level.CONFORMS)])
def test_a_process_that_left_its_session_is_ended(tmp_path, where, level):
    run_checks("mine/it", plugins=[written(tmp_path, where=where, hangs=False)], level=level)
    left = int((tmp_path / "left").read_text())
    assert not runs(left)


@pytest.mark.parametrize("where", ["registration", "fit"])
def test_when_the_check_is_killed_all_that_it_started_ends(tmp_path, where):
    plugin = written(tmp_path, where=where, hangs=True)
    check = subprocess.Popen([sys.executable, "-c", CHECK, str(plugin)])
    try:
        assert until((tmp_path / "hangs").exists, 60), f"exit code {check.poll()}"
        started = [int((tmp_path / name).read_text()) for name in ("hangs", "left")]
        assert all(map(runs, started))
    finally:
        check.kill()
        check.wait()
    assert until(lambda: not any(map(runs, started)), 10), [p for p in started if runs(p)]
