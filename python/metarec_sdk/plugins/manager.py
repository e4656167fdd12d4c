"""The plugins of one recommender: loading, selection by name, and observation."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from typing import Any

from metarec_sdk.errors import PluginError, UnknownIdError
from metarec_sdk.plugins import builtin, candidates
from metarec_sdk.plugins.candidates import GROUP, Candidate
from metarec_sdk.plugins.factory import build, parameters
from metarec_sdk.plugins.fallback import Failures, text_of
from metarec_sdk.plugins.guard import Watch, add_note
from metarec_sdk.plugins.kinds import KINDS, kind_named
from metarec_sdk.plugins.loader import DuplicateError, IncompatibleError, Loaded, load
from metarec_sdk.plugins.observers import Observers
from metarec_sdk.plugins.policy import Policy, strict_from_environment
from metarec_sdk.plugins.records import BUILTIN, ComponentRecord, PluginRecord, Status
from metarec_sdk.plugins.registration import NAME
from metarec_sdk.plugins.request import RankRequest
from metarec_sdk.plugins.selection import find
from metarec_sdk.types import TopK

log = logging.getLogger("metarec_sdk.plugins")


class PluginManager:
    """Loads the built-ins, the installed plugins and those that are given, and builds components by name.

    An imported plugin is trusted code: it may do whatever the process may. The lists apply before the import.
    Loading a plugin never changes a result; selecting its component does. `Stability: provisional`.
    """

    def __init__(
        self,
        plugins: Iterable[Any] | Mapping[str, Any] = (),
        *,
        enabled: bool | Iterable[str] | None = None,
        disabled: Iterable[str] = (),
        strict: bool | None = None,
        entry_points: Iterable[EntryPoint] | None = None,
    ) -> None:
        """Load everything that is allowed.

        ``plugins``: modules, objects, module names or paths of ``.py`` files, always loaded; a mapping gives
        them names. ``enabled``: installed plugins that may be imported, as ``name``, ``name==version`` or
        ``name@sha256:hash``; True for all, False for none, None for what ``METAREC_PLUGINS`` says (all, if
        unset). ``disabled``: plugins that may not, in the same form.
        ``strict``: raise for a broken plugin instead of recording it; None for what ``METAREC_STRICT`` says.
        ``entry_points``: to look at instead of those of the environment.

        Raises `ArgumentError` for arguments of another form and, if strict, what a broken plugin raised.
        """
        self._strict = strict_from_environment() if strict is None else strict
        self._records: list[PluginRecord] = []
        self._components: dict[tuple[str, str], ComponentRecord] = {}
        self._failures = Failures()
        self._observers = Observers(self._strict, self._failures)
        policy = Policy.of(enabled, disabled)
        self._load(Candidate(BUILTIN, "metarec-sdk", _own_version(), lambda: builtin))
        by_name: dict[str, list[Candidate]] = defaultdict(list)
        self._candidates = [*candidates.given(plugins), *candidates.installed(entry_points)]
        for candidate in self._candidates:
            by_name[candidate.name].append(candidate)
        for same_name in by_name.values():
            self._load_one_of(same_name, policy)

    @property
    def records(self) -> list[PluginRecord]:
        """What became of each plugin, the built-ins first."""
        return [
            replace(
                record,
                failures=self._failures.count[record.name],
                last_failure=self._failures.last.get(record.name),
            )
            if record.status is Status.LOADED
            else record
            for record in self._records
        ]

    def components(self, kind: str | None = None) -> list[ComponentRecord]:
        """The components that can be selected, of one kind or of all."""
        chosen = KINDS if kind is None else {kind_named(kind).name}
        return [record for record in self._components.values() if record.kind in chosen]

    def find(self, kind: str, name: str, *, distribution: str | None = None) -> ComponentRecord:
        """The component of that name.

        ``distribution`` is what an artefact recorded as its source, for the message if it is missing.

        Raises `UnknownIdError` with the closest names, or `PluginError` if its plugin isn't loaded.
        """
        return find(self._components, self._records, kind_named(kind), name, distribution)

    def create(
        self,
        kind: str,
        name: str,
        params: Mapping[str, Any] | None = None,
        *,
        distribution: str | None = None,
    ) -> Any:
        """A new component, built with ``params``.

        Raises what `find` raises, `ArgumentError` for a parameter that it doesn't take, `PluginError` if it
        breaks the protocol of its kind, and `MissingDependencyError` if it needs an extra. What a plugin
        raises keeps its type and gains a note with plugin, version, component and call, here and in later
        calls.
        """
        record = self.find(kind, name, distribution=distribution)
        return build(Watch(record, self._strict, self._failures), params or {})

    def parameters(self, kind: str, name: str) -> list[str]:
        """Names of the keyword arguments that the component takes.

        Raises what `find` raises, and what the import of the component raises.
        """
        return parameters(self.find(kind, name))

    def sha256(self, plugin: str) -> str | None:
        """Hash of the code of a plugin, as the lists take it; None for an object and for the built-ins.

        Raises `UnknownIdError` for a plugin that isn't there.
        """
        if plugin == BUILTIN:
            return None
        for candidate in self._candidates:
            if candidate.name == plugin:
                return candidate.sha256()
        raise UnknownIdError(
            f"there is no plugin {plugin!r}; there are {sorted(r.name for r in self._records)}"
        )

    @property
    def observes_batches(self) -> bool:
        """Whether anybody wants to hear of ranked batches."""
        return self._observers.wants("metarec_batch_ranked")

    def fit_finished(self, report: Any) -> None:
        """Tell the observers about a fit; one that raises is recorded and breaks nothing."""
        self._observers.notify("metarec_fit_finished", {"report": report})

    def batch_ranked(self, request: RankRequest, result: TopK, elapsed_ns: int) -> None:
        """Tell the observers about a batch; one that raises is recorded and breaks nothing."""
        self._observers.notify(
            "metarec_batch_ranked", {"request": request, "result": result, "elapsed_ns": elapsed_ns}
        )

    def _load_one_of(self, same_name: list[Candidate], policy: Policy) -> None:
        """Load the only candidate of a name; what the caller gave goes before what is installed."""
        usable = []
        for candidate in same_name:
            applies = policy.denial if candidate.given else policy.refusal
            refusal = applies(candidate.name, candidate.version, candidate.sha256)
            if refusal is not None:
                self._record(candidate, Status.DISABLED, refusal)
            elif not candidate.given and candidate.group != GROUP:
                wanted = (candidate.group or "").removeprefix("metarec_sdk.v")
                self._fail(
                    candidate, IncompatibleError(f"it is written for metarec_sdk {wanted}, this is version 1")
                )
            elif candidate.name == BUILTIN:
                self._fail(candidate, DuplicateError(f"the name {BUILTIN!r} belongs to the built-ins"))
            elif NAME.fullmatch(candidate.name) is None:
                self._fail(
                    candidate, PluginError(f"{candidate.name!r} isn't lower-case words joined by hyphens")
                )
            else:
                usable.append(candidate)
        chosen = [candidate for candidate in usable if candidate.given] or usable
        if len(chosen) == 1:
            self._load(chosen[0])
        for candidate in usable:
            if len(chosen) > 1 or candidate not in chosen:
                # which of two installed ones comes first depends on sys.path, so neither may win
                providers = " and ".join(other.provider for other in usable)
                message = f"{providers} are both named {candidate.name!r}; uninstall or disable one of them"
                self._fail(candidate, DuplicateError(message))

    def _load(self, candidate: Candidate) -> None:
        started = time.perf_counter()
        try:
            loaded = load(candidate)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin's sys.exit() must not end the host
            if candidate.name == BUILTIN:
                raise
            self._fail(candidate, error, time.perf_counter() - started)
            return
        self._commit(candidate, loaded, time.perf_counter() - started)

    def _commit(self, candidate: Candidate, loaded: Loaded, seconds: float) -> None:
        for offer in loaded.offers:
            self._components[offer.kind, offer.name] = ComponentRecord(
                offer.kind,
                offer.name,
                offer.target,
                offer.summary,
                candidate.name,
                candidate.distribution,
                loaded.version,
            )
        self._observers.add(candidate.name, loaded.observers)
        self._records.append(
            PluginRecord(
                candidate.name,
                candidate.distribution,
                loaded.version,
                Status.LOADED,
                components=tuple(f"{offer.kind} {offer.name}" for offer in loaded.offers),
                observes=tuple(loaded.observers),
                import_seconds=seconds,
            )
        )

    def _fail(self, candidate: Candidate, error: BaseException, seconds: float = 0.0) -> None:
        if self._strict:
            add_note(error, f"plugin {candidate.name!r} from {candidate.provider} (METAREC_STRICT)")
            raise error
        status = _status_of(error)
        text = (
            text_of(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {text_of(error)}"
        )
        log.warning("plugin %r from %s is %s: %s", candidate.name, candidate.provider, status, text)
        self._record(candidate, status, text, seconds)

    def _record(self, candidate: Candidate, status: Status, error: str, seconds: float = 0.0) -> None:
        self._records.append(
            PluginRecord(
                candidate.name,
                candidate.distribution,
                candidate.version,
                status,
                error,
                import_seconds=seconds,
            )
        )


def _status_of(error: BaseException) -> Status:
    if isinstance(error, IncompatibleError):
        return Status.INCOMPATIBLE
    return Status.DUPLICATE if isinstance(error, DuplicateError) else Status.FAILED


def _own_version() -> str | None:
    try:
        return version("metarec-sdk")
    except PackageNotFoundError:  # run from a source tree that isn't installed
        return None
