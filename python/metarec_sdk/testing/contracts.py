"""Contract test classes: subclass one in a test file and pytest runs every check of the kind.

``class TestStripes(ClustererContract): component = "acme/stripes"``
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from metarec_sdk.testing.check import CHECKS, Level, checks_of
from metarec_sdk.testing.report import Outcome, Report, Result
from metarec_sdk.testing.run import run_one
from metarec_sdk.testing.subject import Plugins, Subject


class Contract:
    """One test method a check; `Stability: provisional`."""

    kind: ClassVar[str]
    component: ClassVar[str] = ""
    """Name of the component, ``plugin/name``."""
    plugins: ClassVar[Plugins] = ()
    """Where its plugin comes from, if it isn't installed."""
    params: ClassVar[Mapping[str, Any]] = {}
    """Keyword arguments that it is built with."""
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Check -> why it is known to fail. One that passes, or doesn't exist, fails the test."""
    _subject: ClassVar[Subject]
    _results: ClassVar[list[Result]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__test__ = bool(cls.component)  # type: ignore[attr-defined]

    @classmethod
    def setup_class(cls) -> None:
        """Prepare the component for all checks of the class."""
        cls._subject = Subject(cls.kind, cls.component, plugins=cls.plugins, params=cls.params)
        cls._results = []
        unknown = [name for name in cls.expected_failures if name not in _names(cls.kind)]
        assert not unknown, f"expected_failures names {unknown}; the checks are {sorted(_names(cls.kind))}"

    @classmethod
    def teardown_class(cls) -> None:
        """Print the counts."""
        print("\n" + Report(cls.component, cls.kind, tuple(cls._results), cls.expected_failures).summary())


def _names(kind: str) -> set[str]:
    return {check.name for check in checks_of(kind)}


def _test(name: str) -> Callable[[Contract], None]:
    def method(self: Contract) -> None:
        import pytest

        result = run_one(CHECKS[name], self._subject)
        self._results.append(result)
        if result.outcome is Outcome.SKIPPED:
            pytest.skip(result.message)
        if name in self.expected_failures:
            assert result.outcome is Outcome.FAILED, f"{name} is expected to fail and passes; take it off"
            pytest.xfail(self.expected_failures[name])
        assert result.outcome is Outcome.PASSED, result.message

    method.__doc__ = CHECKS[name].summary
    return method


def _contract(name: str, kind: str) -> type[Contract]:
    tests = {f"test_{check.name.replace('-', '_')}": _test(check.name) for check in checks_of(kind)}
    return type(name, (Contract,), {"kind": kind, "__doc__": f"The checks of a {kind}.", **tests})


BackboneContract = _contract("BackboneContract", "backbone")
ClustererContract = _contract("ClustererContract", "clusterer")
MetaLearnerContract = _contract("MetaLearnerContract", "meta_learner")
HeadContract = _contract("HeadContract", "head")
ItemItemContract = _contract("ItemItemContract", "item_item")
FeedbackContract = _contract("FeedbackContract", "feedback")
BehaviourContract = _contract("BehaviourContract", "behaviour")
ContentContract = _contract("ContentContract", "content")
RerankerContract = _contract("RerankerContract", "reranker")
RuleContract = _contract("RuleContract", "rule")

__all__ = ["Contract", "Level", *sorted(name for name in dir() if name.endswith("Contract"))]
