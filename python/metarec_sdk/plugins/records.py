"""What became of each plugin, and which components there are to choose from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from metarec_sdk.plugins.hookspecs import Factory

BUILTIN = "metarec"
"""The plugin of the built-ins; its components have bare names."""


class Status(StrEnum):
    """What became of a plugin."""

    LOADED = "loaded"
    FAILED = "failed"
    """Its import or one of its hooks raised; ``error`` has the text."""
    DISABLED = "disabled"
    """Not allowed by the allow or deny list; it was not imported."""
    DUPLICATE = "duplicate"
    """Another provider has the same name; ``error`` names both."""
    INCOMPATIBLE = "incompatible"
    """It needs a hook, a hook argument or a major version that isn't here."""


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """What became of one plugin. `Stability: provisional`."""

    name: str
    """Its namespace: components are ``name/component``."""
    distribution: str | None
    """The installed distribution, or None for a plugin given as an object or file."""
    version: str | None
    """Version of the distribution, or ``__version__`` of the object."""
    status: Status
    error: str | None = None
    """Why it isn't loaded."""
    components: tuple[str, ...] = ()
    """``"clusterer acme/stripes"``, in the order of registration."""
    observes: tuple[str, ...] = ()
    """Observation hooks that it implements."""
    import_seconds: float = 0.0
    """Wall-clock time of its import and registration."""
    failures: int = 0
    """How often it failed while the host went on: an observer, or a component while serving."""
    last_failure: str | None = None
    """What was called and what it raised, the last time."""

    @property
    def provider(self) -> str:
        """Distribution and version, for messages."""
        if self.distribution is None:
            return f"plugin object {self.name!r}"
        return f"{self.distribution} {self.version or '(unknown version)'}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {**asdict(self), "status": str(self.status)}


@dataclass(frozen=True, slots=True)
class ComponentRecord:
    """A component that can be selected by name. `Stability: provisional`."""

    kind: str
    name: str
    """``"kmeans"`` for a built-in, ``"acme/stripes"`` for a plugin's."""
    target: Factory | type | str
    """A class or function, or ``"module:attribute"``."""
    summary: str
    plugin: str
    distribution: str | None
    version: str | None

    @property
    def builtin(self) -> bool:
        """Whether it comes with metarec_sdk."""
        return self.plugin == BUILTIN

    @property
    def location(self) -> str:
        """Where the target lives, as ``module:attribute``."""
        if isinstance(self.target, str):
            return self.target
        name = getattr(self.target, "__qualname__", type(self.target).__qualname__)
        return f"{getattr(self.target, '__module__', '?')}:{name}"

    def origin(self) -> dict[str, str | None]:
        """What an artefact records of the component: its name, plugin, distribution and version."""
        return {
            "component": self.name,
            "plugin": self.plugin,
            "distribution": self.distribution,
            "version": self.version,
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {"kind": self.kind, **self.origin(), "target": self.location, "summary": self.summary}
