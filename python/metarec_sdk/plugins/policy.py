"""Which plugins may be imported, and whether a broken one is fatal."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from metarec_sdk.errors import ArgumentError

ALLOW_VARIABLE = "METAREC_PLUGINS"
STRICT_VARIABLE = "METAREC_STRICT"

_ENTRY = re.compile(
    r"(?P<name>[^=@\s]+)\s*(==\s*(?P<version>[^@\s]+))?\s*(@\s*sha256:(?P<sha256>[0-9a-fA-F]{64}))?"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a list: ``acme``, ``acme==1.2``, ``acme@sha256:…``, or version and hash together."""

    name: str
    version: str | None = None
    sha256: str | None = None

    @classmethod
    def parse(cls, text: str) -> Entry:
        """Raises `ArgumentError` for a text of another form."""
        found = _ENTRY.fullmatch(text.strip())
        if found is None:
            raise ArgumentError(
                f"{text!r} should read NAME, NAME==VERSION or NAME@sha256:HASH, as in a list of plugins"
            )
        sha256 = found["sha256"]
        return cls(found["name"], found["version"], sha256.lower() if sha256 else None)

    def matches(self, version: str | None, sha256: Callable[[], str | None]) -> bool:
        """Whether a plugin of this name is meant, by its version and the hash of its code."""
        if self.version is not None and self.version != version:
            return False
        return self.sha256 is None or self.sha256 == sha256()

    def __str__(self) -> str:
        version = f"=={self.version}" if self.version else ""
        return self.name + version + (f"@sha256:{self.sha256}" if self.sha256 else "")


@dataclass(frozen=True, slots=True)
class Policy:
    """Allow and deny lists, applied before a plugin is imported."""

    allowed: tuple[Entry, ...] | None
    """What may load, or None for all."""
    denied: tuple[Entry, ...] = ()
    """What may not load, whatever ``allowed`` says."""
    source: str = "the default"
    """Where the lists come from, for messages."""

    @classmethod
    def of(cls, enabled: bool | Iterable[str] | None, disabled: Iterable[str] = ()) -> Policy:
        """From arguments, or from ``METAREC_PLUGINS`` where ``enabled`` is None.

        The variable is ``off``, or entries with commas between them; ``-entry`` denies. Raises
        `ArgumentError` for an entry of another form.
        """
        if isinstance(enabled, str) or isinstance(disabled, str):
            raise ArgumentError("enabled= and disabled= take a list of plugin names, got one string")
        denied = tuple(map(Entry.parse, disabled))
        if enabled is None:
            return cls._from_environment(denied)
        if isinstance(enabled, bool):
            return cls(None if enabled else (), denied, f"enabled={enabled}")
        allowed = tuple(map(Entry.parse, enabled))
        return cls(allowed, denied, f"enabled={sorted(map(str, allowed))}")

    @classmethod
    def _from_environment(cls, denied: tuple[Entry, ...]) -> Policy:
        text = os.environ.get(ALLOW_VARIABLE, "").strip()
        if not text:
            return cls(None, denied)
        source = f"{ALLOW_VARIABLE}={text}"
        if text == "off":
            return cls((), denied, source)
        names = [name.strip() for name in text.split(",") if name.strip()]
        allowed = tuple(Entry.parse(name) for name in names if not name.startswith("-"))
        refused = tuple(Entry.parse(name[1:]) for name in names if name.startswith("-"))
        return cls(allowed or None, denied + refused, source)

    def denial(self, name: str, version: str | None, sha256: Callable[[], str | None]) -> str | None:
        """Why the plugin is on the deny list, or None."""
        for entry in self.denied:
            if entry.name == name and entry.matches(version, sha256):
                return f"disabled as {str(entry)!r} ({self.source})"
        return None

    def refusal(self, name: str, version: str | None, sha256: Callable[[], str | None]) -> str | None:
        """Why the plugin may not be imported, or None if it may; ``sha256`` is only called if needed."""
        denial = self.denial(name, version, sha256)
        if denial is not None or self.allowed is None:
            return denial
        of_name = [entry for entry in self.allowed if entry.name == name]
        if any(entry.matches(version, sha256) for entry in of_name):
            return None
        if not of_name:
            return f"not in the list of allowed plugins ({self.source})"
        got = f"version {version}" + (f", sha256 {sha256()}" if any(e.sha256 for e in of_name) else "")
        wanted = " or ".join(map(str, of_name))
        return f"{got} isn't the allowed one; allowed is {wanted} ({self.source})"


def strict_from_environment() -> bool:
    """Whether ``METAREC_STRICT`` asks for broken plugins to raise."""
    return os.environ.get(STRICT_VARIABLE, "").strip().lower() not in ("", "0", "false", "off")
