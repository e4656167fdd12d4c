"""The component under test: built, fitted and asked as often as the checks want."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from metarec_sdk.plugins import KINDS, PluginManager
from metarec_sdk.plugins.guard import unguarded
from metarec_sdk.plugins.records import BUILTIN, ComponentRecord, PluginRecord
from metarec_sdk.testing.alone import load_alone
from metarec_sdk.testing.cases import CASES, Answers, Case, Inputs, n_rows
from metarec_sdk.testing.check import Skip
from metarec_sdk.testing.importing import Imported, imported
from metarec_sdk.testing.samples import world
from metarec_sdk.types import State

Plugins = Iterable[Any] | Mapping[str, Any]


class Subject:
    """A component by its name, together with where its plugin comes from."""

    def __init__(
        self,
        kind: str,
        name: str,
        *,
        plugins: Plugins = (),
        params: Mapping[str, Any] | None = None,
        import_seconds: float = 30.0,
    ) -> None:
        self.kind = kind
        self.name = name
        self.plugins = dict(plugins) if isinstance(plugins, Mapping) else list(plugins)
        self.params = dict(params or {})
        self._import_seconds = import_seconds

    @cached_property
    def manager(self) -> PluginManager:
        """Loads the plugin on first use, with no other installed plugin beside it."""
        return load_alone(self.plugin, self.plugins)

    @property
    def plugin(self) -> str:
        """Name of the plugin."""
        return self.name.partition("/")[0] if "/" in self.name else BUILTIN

    @property
    def plugin_record(self) -> PluginRecord:
        """What became of the plugin; an `AssertionError` where there is none of that name."""
        for record in self.manager.records:
            if record.name == self.plugin:
                return record
        raise AssertionError(
            f"there is no plugin {self.plugin!r}; there are {[r.name for r in self.manager.records]}"
        )

    @property
    def record(self) -> ComponentRecord:
        """The component's record."""
        return self.manager.find(self.kind, self.name)

    @property
    def case(self) -> Case:
        """How its kind is fitted and asked."""
        return CASES[self.kind]

    @property
    def protocol(self) -> type:
        """The protocol of its kind."""
        return KINDS[self.kind].protocol

    @cached_property
    def inputs(self) -> Inputs:
        """What it is asked about."""
        return self.case.inputs(world(), self.new())

    @property
    def n_rows(self) -> int:
        """Rows that it can be asked about one by one: people, histories, items."""
        return n_rows(self.inputs, self.kind)

    def new(self) -> Any:
        """A new component as the plugin made it, without the guard that the host puts around it."""
        return unguarded(self.manager.create(self.kind, self.name, self.params))

    def fitted(self, seed: int = 11) -> Any:
        """A new component, fitted on the world."""
        component = self.new()
        if self.case.fit is not None:
            self.case.fit(component, world(), np.random.default_rng(seed))
        return component

    @cached_property
    def ready(self) -> Any:
        """One fitted component for all checks that change nothing."""
        return self.fitted()

    def ask(self, component: Any, inputs: Inputs | None = None) -> Answers:
        """All its answers."""
        return self.case.ask(component, self.inputs if inputs is None else inputs)

    def take(self, rows: Any) -> Inputs:
        """The given rows of the inputs."""
        if self.case.take is None:
            raise Skip(f"a {KINDS[self.kind].label} isn't asked in rows")
        return self.case.take(self.inputs, rows)

    def state(self, component: Any) -> State:
        """Its state; `Skip` for kinds without."""
        if not self.case.stored:
            raise Skip(f"a {KINDS[self.kind].label} keeps no state")
        state: State = component.state()
        return state

    @property
    def importable(self) -> bool:
        """Whether its plugin comes as text, so that another process can import it too."""
        if self.plugin == BUILTIN:
            return True
        given = self.plugins.items() if isinstance(self.plugins, dict) else [(None, p) for p in self.plugins]
        return all(isinstance(plugin, str | Path) for _, plugin in given)

    @cached_property
    def imported(self) -> Imported:
        """What happened when a fresh interpreter loaded the plugin; `Skip` for one given as an object."""
        if not self.importable:
            raise Skip("the plugin is an object of this process; give its module or file instead")
        if self.plugin == BUILTIN:
            raise Skip("it comes with metarec_sdk")
        if not self.plugins:
            return _installed(self.plugin, self._import_seconds)
        return imported(self.plugin, self.plugins, self._import_seconds)


@cache
def _installed(plugin: str, import_seconds: float) -> Imported:
    """Once for all components of an installed plugin, which stays as it is while this process runs."""
    return imported(plugin, (), import_seconds)
