"""Progress bars on long work, shown on a terminal and silent elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from metarec_sdk.types import Progress, no_progress

Step: TypeAlias = Callable[[str], AbstractContextManager[Progress]]
"""Opens the bar of one named part of the work."""


@contextmanager
def silent(description: str) -> Iterator[Progress]:
    """A `Step` that shows nothing."""
    yield no_progress


@contextmanager
def steps(show: bool | None) -> Iterator[Step]:
    """Bars for the parts of one job; ``show=None`` shows them where standard error is a terminal."""
    if not (sys.stderr.isatty() if show is None else show):
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:

        @contextmanager
        def step(description: str) -> Iterator[Progress]:
            bar = bars.add_task(description, total=None)

            def progress(done: int, total: int, message: str) -> None:
                text = f"{description}: {message}" if message else description
                bars.update(bar, completed=done, total=total, description=text)

            yield progress
            total = bars.tasks[bar].total or 1
            bars.update(bar, completed=total, total=total, description=description)
            bars.stop_task(bar)

        yield step
