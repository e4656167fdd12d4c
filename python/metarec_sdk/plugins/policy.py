"""Which installed plugins may be imported, and whether a broken one is fatal."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from metarec_sdk.errors import ArgumentError

ALLOW_VARIABLE = "METAREC_PLUGINS"
STRICT_VARIABLE = "METAREC_STRICT"


@dataclass(frozen=True, slots=True)
class Policy:
    """Allow and deny lists, applied before a plugin is imported."""

    allowed: frozenset[str] | None
    """Names that may load, or None for all."""
    denied: frozenset[str] = frozenset()
    """Names that may not load, whatever ``allowed`` says."""
    source: str = "the default"
    """Where the lists come from, for messages."""

    @classmethod
    def of(cls, enabled: bool | Iterable[str] | None, disabled: Iterable[str] = ()) -> Policy:
        """From arguments, or from ``METAREC_PLUGINS`` where ``enabled`` is None.

        The variable is ``off``, or plugin names with commas between them; ``-name`` denies that one.
        """
        if isinstance(enabled, str) or isinstance(disabled, str):
            raise ArgumentError("enabled= and disabled= take a list of plugin names, got one string")
        if enabled is None:
            return cls._from_environment(frozenset(disabled))
        if isinstance(enabled, bool):
            return cls(None if enabled else frozenset(), frozenset(disabled), f"enabled={enabled}")
        return cls(frozenset(enabled), frozenset(disabled), f"enabled={sorted(enabled)}")

    @classmethod
    def _from_environment(cls, denied: frozenset[str]) -> Policy:
        text = os.environ.get(ALLOW_VARIABLE, "").strip()
        if not text:
            return cls(None, denied)
        source = f"{ALLOW_VARIABLE}={text}"
        if text == "off":
            return cls(frozenset(), denied, source)
        names = [name.strip() for name in text.split(",") if name.strip()]
        allowed = frozenset(name for name in names if not name.startswith("-"))
        return cls(allowed or None, denied | {name[1:] for name in names if name.startswith("-")}, source)

    def refusal(self, name: str) -> str | None:
        """Why the plugin may not be imported, or None if it may."""
        if name in self.denied:
            return f"disabled by name ({self.source})"
        if self.allowed is not None and name not in self.allowed:
            return f"not in the list of allowed plugins ({self.source})"
        return None


def strict_from_environment() -> bool:
    """Whether ``METAREC_STRICT`` asks for broken plugins to raise."""
    return os.environ.get(STRICT_VARIABLE, "").strip().lower() not in ("", "0", "false", "off")
