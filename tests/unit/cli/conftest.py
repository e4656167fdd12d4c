"""The command line in this process, and a model that records how it is called."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import metarec_sdk
from metarec_sdk.cli import app
from metarec_sdk.data import Vocabulary


@pytest.fixture
def metarec(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``metarec("fit", path, ...)``: run a command and return its result."""
    monkeypatch.delenv("METAREC_DEBUG", raising=False)
    monkeypatch.delenv("METAREC_PLUGINS", raising=False)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def metarec_json(metarec: Callable[..., Result]) -> Callable[..., Any]:
    """The same with ``--json``: the data that a successful command prints."""

    def run(*arguments: object) -> Any:
        result = metarec(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run


@dataclass
class StandIn:
    """Takes the place of a fitted recommender; ``calls`` has what commands asked of it."""

    items: Vocabulary
    users: list[Any]
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    raises: BaseException | None = None

    def recommend(self, users: Any = None, **options: Any) -> pl.DataFrame:
        self._called("recommend", users, options)
        rows = users if users is not None else range(len(options["history"]))
        return pl.DataFrame(
            {
                "user_id": list(rows),
                "rank": [1] * len(rows),
                "item_id": [self.items.ids[0]] * len(rows),
                "score": [0.5] * len(rows),
            }
        )

    def observe(self, user: Any, item: Any, event: str, **options: Any) -> int:
        self._called("observe", user, item, event, options)
        return 7

    def observe_many(self, frame: pl.DataFrame) -> list[int]:
        self._called("observe_many", frame)
        return list(range(8, 8 + frame.height))

    def update(self) -> Any:
        self._called("update")
        return SimpleNamespace(to_dict=lambda: {"generation": "000003-c"})

    def refit(self) -> Any:
        self._called("refit")
        return SimpleNamespace(to_dict=lambda: {"generation": "000004-d"})

    def _called(self, *call: Any) -> None:
        if self.raises is not None:
            raise self.raises
        self.calls.append(call)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., StandIn]:
    """``serve(items, users)``: every model folder now holds this model."""

    def put(items: list[Any], users: list[Any]) -> StandIn:
        stand_in = StandIn(Vocabulary.from_ids(items), users)
        monkeypatch.setitem(vars(metarec_sdk), "load", lambda path, plugins=(): stand_in)
        return stand_in

    return put


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A CSV log of text ids with an event type and a value."""
    path = tmp_path / "events.csv"
    path.write_text("who,what,ts,type,stars\nu1,i1,1700000000,view,\nu2,i2,1700000060,rating,4.5\n")
    return path
