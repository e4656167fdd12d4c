"""Loads one plugin: imports it, checks its hooks and stages what it registers.

pluggy isolates nothing and its traps are silent, so every check happens here, on a scratch manager, before
the plugin can touch anything: a plugin comes in whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pluggy
from pluggy import HookImpl

from metarec_sdk.errors import PluginError
from metarec_sdk.plugins import hookspecs
from metarec_sdk.plugins.candidates import Candidate
from metarec_sdk.plugins.hookspecs import Factory
from metarec_sdk.plugins.kinds import KINDS
from metarec_sdk.plugins.markers import PROJECT
from metarec_sdk.plugins.records import BUILTIN
from metarec_sdk.plugins.registration import Registration

OBSERVATION_HOOKS = ("metarec_fit_finished", "metarec_batch_ranked")


class DuplicateError(PluginError):
    """Two providers want one name."""


class IncompatibleError(PluginError):
    """The plugin was written for another version of the hooks."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One component that a plugin offers."""

    kind: str
    name: str
    target: Factory | type | str
    summary: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A plugin whose hooks were checked and whose registrations all succeeded."""

    offers: list[Offer]
    observers: dict[str, HookImpl]
    """Observation hook -> implementation."""
    version: str | None


def load(candidate: Candidate) -> Loaded:
    """Import the candidate and collect what it offers.

    Raises `IncompatibleError` for hooks of another version, `PluginError` for a breach of the contract, and
    whatever the plugin itself raises. Nothing outside the plugin has changed then.
    """
    plugin = candidate.load()
    if isinstance(plugin, type):
        raise PluginError(
            f"the entry point gives the class {plugin.__name__}; let it name a module or an instance"
        )
    implementations = _checked_implementations(candidate.name, plugin)
    offers: list[Offer] = []
    for kind in KINDS.values():
        implementation = implementations.get(kind.hook)
        if implementation is None:
            continue
        registration = Registration(candidate.name, kind)
        call(implementation, {"register": registration})
        prefix = "" if candidate.name == BUILTIN else f"{candidate.name}/"
        offers += [
            Offer(kind.name, prefix + name, target, summary)
            for name, (target, summary) in registration.offered.items()
        ]
    observers = {name: implementations[name] for name in OBSERVATION_HOOKS if name in implementations}
    if not offers and not observers:
        raise PluginError("it implements no hook; mark its functions with @metarec_sdk.hookimpl")
    return Loaded(offers, observers, candidate.version or getattr(plugin, "__version__", None))


def call(implementation: HookImpl, arguments: dict[str, Any]) -> None:
    """Call one implementation with those arguments that it takes."""
    implementation.function(*(arguments[name] for name in implementation.argnames))


def _checked_implementations(name: str, plugin: Any) -> dict[str, HookImpl]:
    scratch = pluggy.PluginManager(PROJECT)
    scratch.add_hookspecs(hookspecs)
    known = {hook for hook in vars(hookspecs) if hook.startswith(f"{PROJECT}_")}
    try:
        scratch.register(plugin, name)
    except pluggy.PluginValidationError as error:
        raise IncompatibleError(f"a hook doesn't fit: {error}") from error
    implementations: dict[str, HookImpl] = {}
    for caller in scratch.get_hookcallers(plugin) or ():
        (implementation,) = caller.get_hookimpls()
        if caller.name not in known:
            if not implementation.optionalhook:
                raise IncompatibleError(_unknown_hook(caller.name, sorted(known)))
            continue
        _check_form(caller.name, implementation, caller.spec.argnames if caller.spec else ())
        implementations[caller.name] = implementation
    return implementations


def _unknown_hook(hook: str, known: list[str]) -> str:
    close = get_close_matches(hook, known, n=1, cutoff=0.6)
    hint = f" Did you mean {close[0]!r}?" if close else f" The hooks are {known}."
    return (
        f"hook {hook!r} doesn't exist in this version of metarec_sdk.{hint} "
        "A hook of a newer version can be marked @hookimpl(optionalhook=True)."
    )


def _check_form(hook: str, implementation: HookImpl, arguments: tuple[str, ...] | list[str]) -> None:
    if implementation.wrapper or implementation.hookwrapper:
        raise PluginError(f"hook {hook!r} is a wrapper; metarec_sdk calls each implementation by itself")
    unfilled = [name for name in implementation.kwargnames if name in arguments]
    if unfilled:
        raise PluginError(
            f"hook {hook!r} gives {unfilled[0]!r} a default value; pluggy never fills such an argument, "
            "so remove the default"
        )
