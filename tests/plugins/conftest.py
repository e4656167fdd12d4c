"""Small plugins to load: objects, and distributions as pip would leave them on the path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import numpy as np
import pytest

from metarec_sdk.plugins.policy import ALLOW_VARIABLE, STRICT_VARIABLE


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


@pytest.fixture
def stripes() -> type[Stripes]:
    return Stripes


@pytest.fixture
def plugin() -> Callable[..., SimpleNamespace]:
    """``plugin(hook=function, ...)``: an object that implements hooks."""
    import metarec_sdk

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
