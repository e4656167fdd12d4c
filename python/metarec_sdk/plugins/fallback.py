"""While serving, a plugin that fails doesn't take the answer down: the rest answers, and it is counted."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

log = logging.getLogger("metarec_sdk.plugins")

T = TypeVar("T")


LONGEST = 1000
"""Characters of an error's text that are kept."""


def text_of(error: BaseException) -> str:
    """The error's text; its ``__str__`` is a plugin's code as well and may fail."""
    try:
        return str(error)[:LONGEST]
    except KeyboardInterrupt:
        raise
    except BaseException:
        return "(its text can't be made: __str__ fails)"


class Failures:
    """How often each plugin failed while the host went on, and how the last time."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.last: dict[str, str] = {}
        """Plugin -> what was called and what it raised."""
        self._lock = threading.Lock()

    def add(self, plugin: str, call: str, error: BaseException) -> None:
        """One more; the first of a plugin is logged, because a batch hook would fill the log."""
        with self._lock:
            self.count[plugin] += 1
            self.last[plugin] = f"{call}: {type(error).__name__}: {text_of(error)}"
            first = self.count[plugin] == 1
        if first:
            log.warning("%s of plugin %r failed", call, plugin, exc_info=error)


def answered(component: Any, call: Callable[[], T], otherwise: Callable[[], T]) -> T:
    """``call()``, or where it raises because of a plugin's component, ``otherwise()`` and a failure counted.

    What a built-in raises is a defect and comes through, and so does everything in strict mode.
    """
    try:
        return call()
    except Exception as error:
        watch = getattr(component, "_watch", None)
        if watch is None or watch.strict:
            raise
        watch.failures.add(watch.record.plugin, f"{watch.record.kind} {watch.record.name!r}", error)
        return otherwise()
