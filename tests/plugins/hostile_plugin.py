"""A plugin that misbehaves on request: `Reranker(at="rescore", do="exit")`.

What it does comes in four groups: it raises, it returns what isn't a result, it changes something of the
process, or it ends or stalls the process.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import metarec_sdk


class MyOwn(BaseException):
    """No `Exception`."""


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class TextExits(Exception):
    def __str__(self) -> str:
        sys.exit(3)


class NoNotes(Exception):
    __notes__ = 7


class OwnNotes(Exception):
    def add_note(self, note: str) -> None:
        raise RuntimeError("no notes")


class Lies(np.ndarray):
    """Says that it is shorter than it is."""

    def __len__(self) -> int:
        return 1


def raising(error: type[BaseException], text: str = "no") -> Callable[[], None]:
    def deed() -> None:
        raise error(text)

    return deed


def recurse() -> None:
    recurse()


def unpicklable() -> None:
    class Local(Exception):
        lock = threading.Lock()

    raise Local(lambda: None)


RAISES: dict[str, Callable[[], Any]] = {
    "error": raising(RuntimeError),
    "exit": lambda: sys.exit(0),
    "own BaseException": raising(MyOwn),
    "GeneratorExit": raising(GeneratorExit),
    "CancelledError": raising(asyncio.CancelledError),
    "StopIteration": raising(StopIteration),
    "recursion": recurse,
    "huge allocation": lambda: np.ones(1 << 50),
    "no text": raising(NoText),
    "text exits": raising(TextExits),
    "no notes": raising(NoNotes),
    "own notes": raising(OwnNotes),
    "unpicklable": unpicklable,
    "huge text": raising(RuntimeError, "x" * 100_000),
    "warning": raising(UserWarning),
}

RETURNS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda scores: None,
    "list": lambda scores: scores.tolist(),
    "generator": lambda scores: (score for score in scores),
    "number": lambda scores: np.float32(1),
    "float64": lambda scores: scores.astype(np.float64),
    "big-endian": lambda scores: scores.astype(">f4"),
    "objects": lambda scores: scores.astype(object),
    "too short": lambda scores: scores[:-1],
    "two dimensions": lambda scores: scores[:, None],
    "NaN": lambda scores: np.full_like(scores, np.nan),
    "infinite": lambda scores: np.full_like(scores, np.inf),
    "matrix": lambda scores: np.asmatrix(scores),
    "masked": lambda scores: np.ma.masked_less(scores, np.float32(0)),
    "lying subclass": lambda scores: scores.view(Lies),
    "frame-like": lambda scores: {"scores": scores},
}


def leave_a_thread() -> None:
    threading.Thread(target=time.sleep, args=(600,), name="left", daemon=True).start()


def change_numpy() -> None:
    np.argsort = sorted  # type: ignore[assignment]


CHANGES: dict[str, Callable[[], Any]] = {
    "environment": lambda: os.environ.__setitem__("HOSTILE", "1"),
    "folder": lambda: os.chdir("/"),
    "sys.path": lambda: sys.path.append("/hostile"),
    "seed": lambda: np.random.seed(666),  # noqa: NPY002
    "warning filters": lambda: warnings.simplefilter("ignore"),
    "signal handler": lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
    "recursion limit": lambda: sys.setrecursionlimit(5000),
    "thread": leave_a_thread,
    "monkeypatch": change_numpy,
    "prints": lambda: print("hostile"),
}


def hang() -> None:
    while True:
        pass


def flood() -> None:
    kept = []
    while True:
        kept.append(np.empty(1 << 26, np.uint8))


def overflow_the_stack() -> None:
    sys.setrecursionlimit(10**9)
    nested: list[Any] = []
    for _ in range(10**6):
        nested = [nested]
    repr(nested)


def leave_a_process() -> None:
    if os.fork() == 0:
        time.sleep(600)


def wait_at_exit() -> None:
    if "at exit" not in {thread.name for thread in threading.enumerate()}:
        atexit.register(time.sleep, 600)
        threading.Thread(target=time.sleep, args=(600,), name="at exit").start()


ENDS: dict[str, Callable[[], Any]] = {
    "hang": hang,
    "hard exit": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda: ctypes.string_at(0),
    "stack overflow": overflow_the_stack,
    "memory": flood,
    "fork": leave_a_process,
    "fork and return": os.fork,
    "closed descriptors": lambda: os.closerange(0, 256),
    "wait at exit": wait_at_exit,
    "Ctrl-C": raising(KeyboardInterrupt),
}

DEEDS = RAISES | CHANGES | ENDS


class Reranker:
    """Leaves the order as it is, and does what it is told at one place."""

    def __init__(self, *, at: str = "never", do: str = "error") -> None:
        self.at, self.do = at, do
        self._act("construction")

    def fit(self, items: Any, vectors: Any) -> None:
        self._act("fit")

    def rescore(self, histories: Any, candidates: Any, k: int) -> Any:
        self._act("rescore")
        scores = candidates.scores.copy()
        if self.at == "result":
            return RETURNS[self.do](scores)
        if self.at == "arguments":
            candidates.items[:] = 0
        return scores

    def _act(self, at: str) -> None:
        if at == self.at:
            DEEDS[self.do]()


@metarec_sdk.hookimpl
def metarec_register_rerankers(register: Any) -> None:
    register("reranker", Reranker, summary="Misbehaves on request")
