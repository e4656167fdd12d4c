"""Collects what one plugin offers, before any of it is made selectable."""

from __future__ import annotations

import re

from metarec_sdk.errors import PluginError
from metarec_sdk.plugins.hookspecs import Factory
from metarec_sdk.plugins.kinds import Kind

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""Names of plugins and components: lower-case words joined by hyphens."""
TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
"""``module:attribute``."""


class Registration:
    """The ``register`` argument of one plugin's registration hook for one kind."""

    def __init__(self, plugin: str, kind: Kind) -> None:
        self._plugin = plugin
        self._kind = kind
        self.offered: dict[str, tuple[Factory | type | str, str]] = {}
        """Component name -> (target, summary)."""

    def __call__(self, name: str, target: Factory | type | str, *, summary: str = "") -> None:
        """See `metarec_sdk.plugins.hookspecs.Register`."""
        call = f"plugin {self._plugin!r}: {self._kind.hook}: register({name!r}, ...)"
        if not isinstance(name, str) or NAME.fullmatch(name) is None:
            raise PluginError(
                f"{call}: a name is lower-case words joined by hyphens, such as 'stripes'; "
                f"the prefix '{self._plugin}/' is added for you"
            )
        if name in self.offered:
            raise PluginError(f"{call}: this {self._kind.label} is registered twice; give one another name")
        if isinstance(target, str):
            if TARGET.fullmatch(target) is None:
                raise PluginError(f"{call}: target={target!r} should read 'module:attribute'")
        elif not callable(target):
            raise PluginError(
                f"{call}: target must be a class, a function or 'module:attribute', "
                f"got {type(target).__name__}"
            )
        if not isinstance(summary, str) or "\n" in summary:
            raise PluginError(f"{call}: summary must be one line of text, got {summary!r}")
        self.offered[name] = (target, summary)
