"""Observation hooks, isolated: an observer that raises is recorded and the host goes on."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
from pluggy import HookImpl

from metarec_sdk.plugins.loader import OBSERVATION_HOOKS, call

log = logging.getLogger("metarec_sdk.plugins")


class Observers:
    """The implementations of the observation hooks, in the order of loading."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._implementations: dict[str, list[tuple[str, HookImpl]]] = {
            hook: [] for hook in OBSERVATION_HOOKS
        }
        self.failures: Counter[str] = Counter()
        """Plugin -> how often one of its observers raised."""
        self.last_failure: dict[str, str] = {}
        """Plugin -> hook and error of the last time."""

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
            except (Exception, SystemExit) as error:
                if self._strict:
                    error.add_note(f"raised by plugin {plugin}: {hook} (METAREC_STRICT)")
                    raise
                self.failures[plugin] += 1
                self.last_failure[plugin] = f"{hook}: {type(error).__name__}: {error}"
                if self.failures[plugin] == 1:  # once: a batch hook would fill the log
                    log.warning("observer %s of plugin %r raised", hook, plugin, exc_info=error)


def read_only(value: Any) -> Any:
    """The value with read-only views of the arrays in it, however deep in dataclasses; nothing is copied."""
    if isinstance(value, np.ndarray):
        view = value.view()
        view.flags.writeable = False
        return view
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        changed = {name: read_only(part) for name, part in own.items()}
        if any(changed[name] is not own[name] for name in own):
            return replace(value, **changed)
    return value
