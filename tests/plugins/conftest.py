"""Small plugins to load: objects, distributions as pip would leave them on the path, and right components."""

from __future__ import annotations

import importlib
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import metarec_sdk
from metarec_sdk.backbones.factors import Factors
from metarec_sdk.data.counts import Counts
from metarec_sdk.data.table_content import TableContent
from metarec_sdk.feedback.linear import LinearFeedback
from metarec_sdk.heads.item_knn import ItemKNN
from metarec_sdk.heads.natpar import Natpar
from metarec_sdk.plugins import KINDS
from metarec_sdk.plugins.policy import ALLOW_VARIABLE, STRICT_VARIABLE
from metarec_sdk.testing import CHECKS, Level, Outcome
from metarec_sdk.testing.run import run_one
from metarec_sdk.testing.subject import Subject
from metarec_sdk.types import Memberships, MetaFit


class Stripes:
    """A clusterer by the parity of the row."""

    column = None

    def __init__(self, n_tasks: int = 2) -> None:
        self.n_tasks = n_tasks

    def fit(self, x, rng):
        self.seen = len(x)

    def assign(self, x):
        return (np.arange(len(x)) % self.n_tasks).astype(np.int32)

    def state(self):
        return {"n_tasks": np.array([self.n_tasks])}

    def restore(self, state):
        self.n_tasks = int(state["n_tasks"][0])


class RightBackbone(Factors):
    def __init__(self) -> None:
        super().__init__(factors=8, iterations=3)


class RightHead(Natpar):
    def __init__(self) -> None:
        super().__init__(factors=8, iterations=3)


class RightClusterer:
    """The nearest of three people."""

    column: Any = None

    def __init__(self) -> None:
        self.centres = None

    def fit(self, x, rng):
        self.learn(x)

    def learn(self, x):
        if not np.isfinite(x).all():
            raise ValueError("x must be finite")
        self.centres = np.array(x[: min(3, len(x))])

    def assign(self, x):
        if self.centres is None or x.shape[1] != self.centres.shape[1] or not np.isfinite(x).all():
            raise ValueError("x must be finite and have the columns of the fit")
        return np.square(x[:, None] - self.centres).sum(2).argmin(1).astype(np.int32)

    def memberships(self, x):
        tasks = np.stack([self.assign(x), np.full(len(x), -1, np.int32)], axis=1)
        return Memberships(tasks, np.tile(np.array([[0.9, 0.1]], np.float32), (len(x), 1)))

    def state(self):
        return {"centres": self.centres}

    def restore(self, state):
        self.centres = state["centres"]


class RightMetaLearner:
    """Learns the mean length of a history."""

    length = 0.0

    def fit(self, episodes, memberships, *, n_tasks, backbone, head, validation, rng, start=None, **_):
        self.length = float(episodes.support.lengths.mean())
        return MetaFit({}, {}, [{"task": 0, "site": "all", "rank": 0, "spread": 0.0}], {"all": self.length})

    def state(self):
        return {"length": np.array([self.length])}

    def restore(self, state):
        self.length = float(state["length"][0])


class RightReranker:
    """Adds an item's first coordinate."""

    def __init__(self) -> None:
        self.bonus = None

    def fit(self, items, vectors):
        self.bonus = np.array(vectors[:, 0])

    def rescore(self, histories, candidates, k):
        return candidates.scores + self.bonus[candidates.items]


class RightRule:
    """Forbids item 0."""

    def __init__(self) -> None:
        self.n = 0

    def fit(self, items, vectors):
        self.n = len(items)

    def forbidden(self, histories, candidates):
        if self.n == 0:
            raise ValueError("fit first")
        return candidates.items == 0


RIGHT: dict[str, type] = {
    "backbone": RightBackbone,
    "clusterer": RightClusterer,
    "meta_learner": RightMetaLearner,
    "head": RightHead,
    "item_item": type("RightNeighbours", (ItemKNN,), {}),
    "feedback": type("RightFeedback", (LinearFeedback,), {}),
    "behaviour": type("RightBehaviour", (Counts,), {}),
    "content": type("RightContent", (TableContent,), {}),
    "reranker": RightReranker,
    "rule": RightRule,
}


@pytest.fixture(scope="session")
def right() -> dict[str, type]:
    """A small component of each kind that keeps its contract."""
    return RIGHT


@pytest.fixture
def as_subject() -> Callable[..., Subject]:
    """``as_subject(kind, target)``: the component ``acme/it`` of a plugin given as an object."""

    def build(kind: str, target: Any, name: str = "acme/it", summary: str = "A twin") -> Subject:
        def hook(register: Any) -> None:
            register("it", target, summary=summary)

        plugin = SimpleNamespace(**{KINDS[kind].hook: metarec_sdk.hookimpl(hook)})
        return Subject(kind, name, plugins={"acme": plugin})

    return build


@pytest.fixture
def outcomes() -> Callable[..., dict[Outcome, dict[str, str]]]:
    """``outcomes(subject, level)``: by outcome, check -> message, for all or some checks."""

    def run(
        subject: Subject, level: Level, names: Iterable[str] | None = None
    ) -> dict[Outcome, dict[str, str]]:
        found: dict[Outcome, dict[str, str]] = defaultdict(dict)
        for check in CHECKS.values():
            if (
                check.level is level
                and subject.kind in check.kinds
                and (names is None or check.name in names)
            ):
                result = run_one(check, subject)
                found[result.outcome][check.name] = result.message
        return found

    return run


@pytest.fixture
def stripes() -> type[Stripes]:
    return Stripes


@pytest.fixture
def plugin() -> Callable[..., SimpleNamespace]:
    """``plugin(hook=function, ...)``: an object that implements hooks."""

    def build(**hooks):
        return SimpleNamespace(**{name: metarec_sdk.hookimpl(function) for name, function in hooks.items()})

    return build


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ALLOW_VARIABLE, raising=False)
    monkeypatch.delenv(STRICT_VARIABLE, raising=False)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """``install("acme", source)``: a distribution ``metarec-acme`` 1.2 with one module."""
    modules: list[str] = []

    def build(
        name: str,
        source: str,
        *,
        distribution: str | None = None,
        version: str = "1.2",
        group: str = "metarec_sdk.v1",
    ) -> None:
        distribution = distribution or f"metarec-{name}"
        module = distribution.replace("-", "_") + "_for_test"
        folder = tmp_path / distribution
        info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(dedent(source))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}\n")
        monkeypatch.syspath_prepend(str(folder))
        modules.append(module)
        importlib.invalidate_caches()

    yield build
    for module in modules:
        sys.modules.pop(module, None)
