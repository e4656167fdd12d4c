"""Hostile plugins under `run_checks`, as in `metarec plugins check`: they end only their own process."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from metarec_sdk.errors import UnknownIdError
from metarec_sdk.plugins import PluginManager
from metarec_sdk.testing import Level, Limits, Outcome, run_checks
from metarec_sdk.testing.importing import snapshot

pytestmark = pytest.mark.timed
HOSTILE = Path(__file__).parent / "hostile_plugin.py"
PluginManager([HOSTILE], enabled=False)
DEEDS = next(m for name, m in sys.modules.items() if name.startswith("metarec_plugin_hostile_plugin"))
LIMITS = Limits(seconds=6.0, memory_gib=2.0)
"""Enough for a check on a busy machine, and soon over for one that hangs."""
LITTLE_MEMORY = Limits(seconds=6.0, memory_gib=0.5)
"""Soon full."""


@pytest.fixture(autouse=True)
def nothing_happens_here():
    """Whatever the plugin does: this process and its children are as before."""
    here, before = os.getpid(), snapshot()
    yield
    assert os.getpid() == here
    after = snapshot()
    for seen in (before, after):  # what pytest changes itself
        seen["the environment"].pop("PYTEST_CURRENT_TEST", None)
        seen.pop("signal handlers")
    assert {name for name in before if before[name] != after[name]} == set()


def checked(at: str, do: str, level: Level = Level.CONFORMS):
    """Failed check -> message."""
    report = run_checks(
        "hostile-plugin/reranker",
        plugins=[HOSTILE],
        params={"at": at, "do": do},
        level=level,
        limits=LIMITS,
    )
    assert (
        report.counts["checks"]
        == report.counts["passed"]
        + report.counts["failed"]
        + report.counts["skipped"]
        + report.counts["not run"]
    )
    return {result.check: result.message for result in report.results if result.outcome is Outcome.FAILED}


ENDED = r"the check (ended the process|didn't end within)"

CONTAINED_ONLY_HERE = [
    ("construction", "hang", ENDED),
    ("fit", "hard exit", ENDED),
    ("rescore", "crash", ENDED),
    ("rescore", "memory", "MemoryError"),
    ("rescore", "fork", None),
    ("rescore", "closed descriptors", None),
    ("rescore", "wait at exit", None),
]
"""What would end, stall or double the host, and what the failing checks say; None where no check fails."""

SEEN_BY_A_CHECK = {"seed": "rng", "signal handler": "main thread"}
"""What says so, of the changes after the import that a check notices at all."""

MORE = [
    ("rescore", "kill", ENDED),
    ("rescore", "Ctrl-C", ENDED),
    ("fit", "hang", ENDED),
    ("rescore", "hang", ENDED),
    ("construction", "crash", ENDED),
    ("rescore", "hard exit", ENDED),
    ("rescore", "stack overflow", ENDED),
    ("rescore", "fork and return", None),
    *((at, deed, "") for deed in DEEDS.RAISES for at in ("construction", "fit", "rescore")),
    *(("result", deed, "") for deed in DEEDS.RETURNS),
    ("arguments", "error", "read-only|changed its arguments"),
    *(("rescore", deed, SEEN_BY_A_CHECK.get(deed)) for deed in DEEDS.CHANGES),
]


@pytest.mark.parametrize(
    ("at", "do", "message"),
    [*CONTAINED_ONLY_HERE, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)],
)
def test_it_ends_only_its_own_process(at, do, message):
    failed = checked(at, do)
    if message is None:
        assert failed == {}
    else:
        assert any(re.search(message, text) for text in failed.values()), failed


REGISTRATIONS = {
    "hang": "while True: pass",
    "hard exit": "import os; os._exit(0)",
    "own BaseException": "raise type('Mine', (BaseException,), {})()",
    "recursion": "metarec_register_rules(register)",
}


@pytest.mark.parametrize(
    "do", [pytest.param(do, marks=pytest.mark.slow) if do == "hang" else do for do in REGISTRATIONS]
)
def test_a_hostile_registration_is_told(tmp_path, do):
    path = tmp_path / "mine.py"
    path.write_text(
        "import metarec_sdk\n"
        "@metarec_sdk.hookimpl\n"
        f"def metarec_register_rules(register):\n    {REGISTRATIONS[do]}\n"
    )
    with pytest.raises(UnknownIdError, match="mine"):
        run_checks("mine/it", plugins=[path], level=Level.LOADS, limits=LIMITS)


def test_there_are_enough_hostile_plugins():
    groups = (DEEDS.RAISES, DEEDS.RETURNS, DEEDS.CHANGES, DEEDS.ENDS)
    assert sum(map(len, groups)) >= 45
    shown = {do for _, do, _ in (*CONTAINED_ONLY_HERE, *MORE)}
    assert set().union(*groups) <= shown
