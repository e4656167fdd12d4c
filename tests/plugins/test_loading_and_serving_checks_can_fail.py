"""Each check of the levels *loads* and *serves* can fail, like those of a contract (test_checks_can_fail)."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import metarec_sdk
from metarec_sdk.testing import CHECKS, Level, Outcome
from metarec_sdk.testing.subject import Subject

OF_THE_IMPORT = {
    "loads-alone",
    "import-is-quick",
    "import-without-torch",
    "import-is-quiet",
    "import-changes-nothing",
}
"""Seen in another process, so only for a plugin that is a file."""

GOOD_FILE = """
import metarec_sdk

@metarec_sdk.hookimpl
def metarec_register_rules(register):
    register("it", "metarec_sdk.ranking.quota:Quota", summary="At most so many of one value")
"""

FILES = {
    "loads-alone": ("import no_such_module", {"import-is-quiet"}),  # the host's warning is printed
    "import-is-quick": ("import time; time.sleep(0.3)", set()),
    "import-without-torch": ("import sys, types; sys.modules['torch'] = types.ModuleType('torch')", set()),
    "import-is-quiet": ("print('hello')", set()),
    "import-changes-nothing": ("import os; os.environ['MINE'] = '1'", set()),
}
"""Check -> (what the plugin does at its import, other checks that this breaks)."""


@pytest.mark.timed
@pytest.mark.parametrize("name", FILES)
def test_a_defect_of_the_import_fails_its_check_and_no_other(name, tmp_path, outcomes):
    code, also = FILES[name]
    path = tmp_path / "mine.py"
    path.write_text(code + GOOD_FILE)
    wrong = Subject("rule", "mine/it", plugins=[path])
    assert set(outcomes(wrong, Level.LOADS, OF_THE_IMPORT)[Outcome.FAILED]) == {name} | also


@pytest.mark.timed
def test_the_right_file_passes(tmp_path, outcomes):
    path = tmp_path / "mine.py"
    path.write_text(GOOD_FILE)
    found = outcomes(Subject("rule", "mine/it", plugins=[path]), Level.LOADS)
    assert {outcome: set(of) for outcome, of in found.items()} == {
        Outcome.PASSED: {check.name for check in CHECKS.values() if check.level is Level.LOADS}
    }


class Right:
    """Forbids nothing."""

    def fit(self, items, vectors):
        pass

    def forbidden(self, histories, candidates):
        return np.zeros(len(candidates.items), bool)


class NeedsAParameter(Right):
    """Can't be built without one."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit


class HasASet(Right):
    """Its parameter can't be recorded."""

    def __init__(self, *, columns: Any = frozenset()) -> None:
        self.columns = columns


class TakesAnything(Right):
    """Takes any keyword."""

    def __init__(self, **more: Any) -> None:
        self.more = more


class Silent(Right):
    __doc__ = " "


class Incomplete:
    """Has no `forbidden`."""

    def fit(self, items, vectors):
        pass


NEED_A_COMPONENT = {
    "summary-given",
    "documented",
    "parameters-have-defaults",
    "parameters-are-plain",
    "unknown-parameter-refused",
    "protocol-followed",
}

OBJECTS = {
    "component-found": ({"name": "acme/other"}, NEED_A_COMPONENT),
    "summary-given": ({"summary": ""}, set()),
    "documented": ({"target": Silent}, set()),
    "parameters-have-defaults": ({"target": NeedsAParameter}, {"protocol-followed"}),
    "parameters-are-plain": ({"target": HasASet}, set()),
    "unknown-parameter-refused": ({"target": TakesAnything}, set()),
    "protocol-followed": ({"target": Incomplete}, {"parameters-have-defaults"}),  # it can't be built
}
"""Check -> (what is different from the right plugin, other checks that this breaks)."""


@pytest.mark.parametrize("name", OBJECTS)
def test_a_defect_of_the_component_fails_its_check_and_no_other(name, as_subject, outcomes):
    different, also = OBJECTS[name]
    wrong = as_subject("rule", **{"target": Right, **different})
    assert set(outcomes(wrong, Level.LOADS)[Outcome.FAILED]) == {name} | also


def test_a_registration_that_fails_is_found_first(outcomes):
    def metarec_register_rules(register):
        raise OSError("disk on fire")

    plugin = SimpleNamespace(metarec_register_rules=metarec_sdk.hookimpl(metarec_register_rules))
    failed = outcomes(Subject("rule", "acme/it", plugins={"acme": plugin}), Level.LOADS)[Outcome.FAILED]
    assert set(failed) == {"plugin-loads", "component-found"} | NEED_A_COMPONENT
    assert "disk on fire" in failed["plugin-loads"]


def test_the_right_object_passes(as_subject, outcomes):
    found = outcomes(as_subject("rule", Right), Level.LOADS)
    assert {outcome: set(of) for outcome, of in found.items()} == {
        Outcome.SKIPPED: OF_THE_IMPORT,
        Outcome.PASSED: {"plugin-loads", "component-found"} | NEED_A_COMPONENT,
    }


class RightReranker:
    """Leaves the order as it is."""

    n = 0

    def fit(self, items, vectors):
        self.n = len(items)

    def rescore(self, histories, candidates, k):
        return candidates.scores.copy()


class Shortens(RightReranker):
    def rescore(self, histories, candidates, k):
        place = np.arange(len(candidates.items)) - np.repeat(
            candidates.offsets[:-1], np.diff(candidates.offsets)
        )
        return np.where(place < 2, candidates.scores, np.float32(-np.inf))


class FailsWhileServing(RightReranker):
    def rescore(self, histories, candidates, k):
        raise RuntimeError("not today")


class KnowsNobodyNew(RightReranker):
    def rescore(self, histories, candidates, k):
        of_somebody_new = np.repeat(histories.lengths == 0, np.diff(candidates.offsets))
        return np.where(of_somebody_new, np.float32(-np.inf), candidates.scores)


class WritesIntoTheLists(RightReranker):
    def rescore(self, histories, candidates, k):
        candidates.items.flags.writeable = True  # on purpose: a read-only view protects from mistakes
        candidates.items[:] = 5
        return candidates.scores.copy()


class DrawsAtRandom(RightReranker):
    number = itertools.count()

    def __init__(self) -> None:
        self.rng = np.random.default_rng(next(self.number))

    def rescore(self, histories, candidates, k):
        return self.rng.random(len(candidates.items)).astype(np.float32)


class RefusesNewItems(RightReranker):
    def fit(self, items, vectors):
        if len(items) > 29:
            raise ValueError("the catalogue has grown")
        super().fit(items, vectors)


@pytest.fixture(scope="module")
def forgetful(right) -> type:
    """A backbone that comes back otherwise than it was."""

    class Forgetful(right["backbone"]):
        def restore(self, state):
            super().restore({name: -array[::-1].copy() for name, array in state.items()})

    return Forgetful


SERVES = {
    "fits-and-recommends": (Shortens, set()),
    "serves-without-fallback": (FailsWhileServing, set()),
    "serves-somebody-new": (KnowsNobodyNew, set()),
    "seen-items-stay-away": (WritesIntoTheLists, set()),
    "same-seed-same-lists": (DrawsAtRandom, {"saved-and-loaded"}),
    "learns-from-events": (RefusesNewItems, set()),
}
"""Check -> (a reranker, other checks that its defect breaks)."""


@pytest.mark.parametrize("name", SERVES)
def test_a_defect_while_serving_fails_its_check_and_no_other(name, as_subject, outcomes):
    target, also = SERVES[name]
    assert set(outcomes(as_subject("reranker", target), Level.SERVES)[Outcome.FAILED]) == {name} | also


def test_a_state_that_does_not_come_back_is_found(as_subject, outcomes, forgetful):
    failed = outcomes(as_subject("backbone", forgetful), Level.SERVES)[Outcome.FAILED]
    assert set(failed) == {"saved-and-loaded"}


@pytest.mark.parametrize("kind", ["reranker", "backbone"])
def test_the_right_twins_serve(kind, right, as_subject, outcomes):
    target = RightReranker if kind == "reranker" else right[kind]
    assert set(outcomes(as_subject(kind, target), Level.SERVES)) == {Outcome.PASSED}


def test_no_check_is_missing():
    shown = {*FILES, *OBJECTS, "plugin-loads", *SERVES, "saved-and-loaded"}
    assert shown == {check.name for check in CHECKS.values() if check.level is not Level.CONFORMS}
