"""The built-ins and the worked example keep the contract that strangers are held to."""

from __future__ import annotations

from pathlib import Path

import pytest

from metarec_sdk.errors import UnknownIdError
from metarec_sdk.testing import CHECKS, Level, Limits, Outcome, Report, Result, RuleContract, run_checks

IGNORES_FEATURES = {
    "nan-refused": "everybody is in one task, whatever the features are",
    "other-width-refused": "everybody is in one task, whatever the features are",
}

QUOTA = """
import metarec_sdk

@metarec_sdk.hookimpl
def metarec_register_rules(register):
    register("quota", "metarec_sdk.ranking.quota:Quota", summary="At most so many of one value")
"""


@pytest.fixture
def mine(tmp_path: Path):
    """``mine(more)``: a file with a rule that serves, and whatever else it does at its import."""

    def write(more: str = "") -> Path:
        path = tmp_path / "mine.py"
        path.write_text(more + "\n" + QUOTA)
        return path

    return write


@pytest.mark.parametrize(
    ("kind", "name", "params"),
    [
        ("backbone", "factors", {}),
        ("clusterer", "column", {"column": "segment", "min_size": 8}),
        ("head", "natpar", {}),
        ("head", "ridge", {}),
        ("item_item", "item-knn", {}),
        ("feedback", "linear", {}),
        ("behaviour", "counts", {}),
        ("content", "table", {}),
        ("reranker", "mmr", {}),
        ("rule", "quota", {}),
        ("meta_learner", "none", {}),
    ],
)
def test_a_built_in_serves(kind, name, params, capsys):
    report = run_checks(name, kind=kind, params=params, isolated=False)
    assert (report.problems, report.level) == ([], Level.SERVES)
    assert f"{report.counts['checks']} checks" in capsys.readouterr().out


def test_a_column_that_the_checks_do_not_have_is_told_with_the_way_to_name_another():
    report = run_checks("column", kind="clusterer", params={"column": "weekday"}, isolated=False)
    assert report.level is Level.CONFORMS
    (message,) = {problem.partition(": ")[2] for problem in report.problems}
    assert "column 'weekday' (given as column=) is not in the data" in message
    assert message.count("'user_id'") == 1
    assert "--param column.NAME=COLUMN" in message


def test_a_known_failure_is_no_problem_but_costs_the_level():
    report = run_checks(
        "none", kind="clusterer", level=Level.CONFORMS, expected_failures=IGNORES_FEATURES, isolated=False
    )
    assert (report.problems, report.level) == ([], Level.LOADS)


@pytest.mark.timed
def test_a_file_is_checked_in_a_process_of_its_own(mine):
    report = run_checks("mine/quota", plugins=[mine()])
    assert (report.problems, report.level) == ([], Level.SERVES)
    assert report.counts["skipped"] == 0


HOSTILE = {
    "prints": ("print('hello')", "import-is-quiet"),
    "slow": ("import time; time.sleep(0.2)", "import-is-quick"),
    "environment": ("import os; os.environ['MINE'] = '1'", "import-changes-nothing"),
    "path": ("import sys; sys.path.append('/nowhere')", "import-changes-nothing"),
    "seed": ("import numpy as np; np.random.seed(0)", "import-changes-nothing"),
    "monkeypatch": ("import numpy as np; np.argsort = sorted", "import-changes-nothing"),
    "signal": (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "import-changes-nothing",
    ),
    "thread": (
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "import-changes-nothing",
    ),
    "fork": ("import os, time\nif os.fork() == 0: time.sleep(60)", "import-changes-nothing"),
    "raises": ("raise RuntimeError('no')", None),
    "exit": ("import sys; sys.exit(0)", None),
    "hard exit": ("import os; os._exit(3)", None),
    "hang": ("while True: pass", None),
    "kill": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", None),
    "memory": ("kept = bytearray(10**12)", None),
}


@pytest.mark.timed
@pytest.mark.parametrize(("code", "check"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_import_is_contained_and_found(mine, code, check):
    """It ends only its own process; the check that sees it fails, or its component can't be looked up."""
    seconds = 2.0 if code == HOSTILE["hang"][0] else 6.0  # a hang takes all of it
    path, limits = mine(code), Limits(seconds=seconds)
    if check is None:
        with pytest.raises(UnknownIdError, match="mine"):
            run_checks("mine/quota", plugins=[path], level=Level.LOADS, limits=limits)
        return
    report = run_checks("mine/quota", plugins=[path], level=Level.LOADS, limits=limits)
    assert check in {result.check for result in report.results if result.outcome is Outcome.FAILED}


HANDS_ON = """
import metarec_sdk

class Handed:
    "Hands its arguments on."
    def __init__(self, **params):
        try:
            taken(**params)
        except TypeError as error:
            raise ERROR(str(error)) from None
    def fit(self, items, vectors): ...
    def rescore(self, histories, candidates, k): ...

def taken(*, share=0.5): ...

@metarec_sdk.hookimpl
def metarec_register_rerankers(register):
    register("handed", Handed, summary="Hands its arguments on")
"""


@pytest.mark.parametrize(
    ("taken", "error", "refused"),
    [
        ("*, share=0.5", "metarec_sdk.ArgumentError", True),
        ("*, share=0.5", "TypeError", False),
        ("**_", "TypeError", False),
    ],
)
def test_an_argument_that_is_handed_on_is_refused_by_an_argument_error(tmp_path, taken, error, refused):
    path = tmp_path / "mine.py"
    path.write_text(HANDS_ON.replace("taken(*, share=0.5)", f"taken({taken})").replace("ERROR", error))
    report = run_checks("mine/handed", plugins=[path], level=Level.LOADS, isolated=False)
    assert [problem.partition(":")[0] for problem in report.problems] == (
        [] if refused else ["unknown-parameter-refused"]
    )


def test_one_message_of_many_checks_is_told_once():
    failed = [Result(f"check-{n}", Level.CONFORMS, Outcome.FAILED, "DataError: a: b") for n in range(4)]
    other = Result("other", Level.CONFORMS, Outcome.FAILED, "it is slow")
    report = Report("mine/a", "rule", (*failed, other), {"check-3": "known", "nothing": ""})
    assert len(report.problems) == 5
    assert str(report).splitlines()[1:] == [
        "  check-0, check-1, check-2: DataError: a: b",
        "  other: it is slow",
        "  nothing is expected to fail but is no check",
    ]
    assert "  4 checks (check-0, check-1, check-2, …): DataError: a: b" in str(
        Report("mine/a", "rule", tuple(failed))
    )


def test_expected_failures_are_checked_both_ways():
    report = run_checks("quota", kind="rule", level=Level.LOADS, expected_failures=["documented", "no-such"])
    assert [problem.partition(" ")[0] for problem in report.problems] == ["documented", "no-such"]
    assert not report.ok


def test_there_are_enough_checks_and_each_says_what_holds():
    assert len(CHECKS) >= 60
    assert all(check.summary.endswith(".") for check in CHECKS.values())


class TestQuota(RuleContract):
    component = "quota"
