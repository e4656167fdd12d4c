"""Timing in turns: everybody once, then everybody again, so that a slow moment of the machine hits all."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from topk.cells import Cell
from topk.contender import Contender
from topk.threads import Threads, settle

SHARE = 128
"""Users of a trial. A slow peer is timed on so many, and its time scaled."""

SLOW = 4.0
"""Seconds above which a peer counts as slow, if another one is twice as fast: the best are timed in full."""

SHORT = 0.002
"""Seconds that a turn takes at least: short calls are timed several times in a turn."""

MOST_CALLS = 20
LEAST_TURNS = 5
LEAST_SLOW_TURNS = 3
MOST_TURNS = 60


@dataclass
class Timed:
    """A contender with its times."""

    contender: Contender
    users: int
    """Users of one call."""
    estimate: float
    """Seconds for the whole batch, from the trial."""
    seconds: list[float] = field(default_factory=list)
    """For the whole batch, scaled where ``users`` are fewer."""

    @property
    def median(self) -> float:
        return median(self.seconds)


class Timing:
    """Times the contenders of cells."""

    def __init__(self, threads: Threads, seconds: float) -> None:
        """``seconds`` is the budget of each contender in a cell."""
        self._threads = threads
        self._budget = seconds
        # 256 MB, more than any cache here; written to, since untouched zeros are one page again and again.
        self._evicting = np.ones(32_000_000)

    def trial(self, cell: Cell, settings: Iterable[Contender]) -> Timed:
        """The fastest of the settings of one contender, on a share of the users, after a call to warm up."""
        users = min(cell.batch, SHARE)
        tried = []
        for contender in settings:
            self._prepare(contender)
            if cell.kind != "build":
                contender.call(users)
            tried.append((_time(contender, users) * cell.batch / users, len(tried), contender))
        estimate, _, fastest = min(tried)
        return Timed(fastest, users, estimate)

    def run(self, cell: Cell, entries: list[Timed]) -> None:
        """Fill in the times, in turns."""
        peers = [entry.estimate for entry in entries if not entry.contender.ours]
        for entry in entries:
            slow = entry.estimate > SLOW and entry.estimate > 2 * min(peers, default=0.0)
            if entry.contender.ours or not slow:
                entry.users = cell.batch
        for turn in range(MOST_TURNS):
            for entry in entries:
                if not self._is_done(entry, cell, turn):
                    self._turn(cell, entry)

    def _is_done(self, entry: Timed, cell: Cell, turn: int) -> bool:
        used = sum(entry.seconds) * entry.users / cell.batch
        least = LEAST_TURNS if entry.estimate < 1.0 else LEAST_SLOW_TURNS
        return turn >= least and used > self._budget

    def _turn(self, cell: Cell, entry: Timed) -> None:
        contender, scale = entry.contender, cell.batch / entry.users
        self._prepare(contender)
        calls = 1
        if cell.kind not in {"cold", "build"}:
            calls = int(np.clip(SHORT / max(entry.estimate, 1e-6), 1, MOST_CALLS))
        if cell.kind == "warm" or (cell.kind == "approximate" and cell.batch == 1):
            contender.call(entry.users)  # its data comes back into the cache
        for _ in range(calls):
            if cell.kind == "cold":
                self._evicting.sum()
            entry.seconds.append(_time(contender, entry.users) * scale)

    def _prepare(self, contender: Contender) -> None:
        self._threads.set(contender.threads, contender.blas)
        settle()


def _time(contender: Contender, users: int) -> float:
    started = time.perf_counter()
    answer = contender.call(users)
    seconds = time.perf_counter() - started
    del answer  # not part of the time, also where it is a large copy
    return seconds
