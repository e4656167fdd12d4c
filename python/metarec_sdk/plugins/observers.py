"""Observation hooks, isolated: an observer that raises is recorded and the host goes on."""

from __future__ import annotations

from typing import Any

from pluggy import HookImpl

from metarec_sdk.errors import PluginError
from metarec_sdk.plugins.fallback import Failures
from metarec_sdk.plugins.guard import add_note, escape
from metarec_sdk.plugins.loader import OBSERVATION_HOOKS, call
from metarec_sdk.plugins.read_only import read_only


class Observers:
    """The implementations of the observation hooks, in the order of loading."""

    def __init__(self, strict: bool, failures: Failures) -> None:
        self._strict = strict
        self._failures = failures
        self._implementations: dict[str, list[tuple[str, HookImpl]]] = {
            hook: [] for hook in OBSERVATION_HOOKS
        }

    def add(self, plugin: str, observers: dict[str, HookImpl]) -> None:
        """Add a plugin's implementations by hook."""
        for hook, implementation in observers.items():
            self._implementations[hook].append((plugin, implementation))

    def wants(self, hook: str) -> bool:
        """Whether anybody implements the hook."""
        return bool(self._implementations[hook])

    def notify(self, hook: str, arguments: dict[str, Any]) -> None:
        """Call every implementation with read-only arrays."""
        if not self._implementations[hook]:
            return
        arguments = {name: read_only(value) for name, value in arguments.items()}
        for plugin, implementation in self._implementations[hook]:
            try:
                call(implementation, arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                if self._strict:
                    add_note(error, f"raised by plugin {plugin}: {hook} (METAREC_STRICT)")
                    if isinstance(error, Exception):
                        raise
                    raise PluginError(f"plugin {plugin}: {hook} {escape(error)}") from error
                self._failures.add(plugin, hook, error)
