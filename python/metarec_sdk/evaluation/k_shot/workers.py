"""Jobs in several processes: what is slow in them keeps one core busy, the rest of a fit leaves it idle."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from metarec_sdk.evaluation.k_shot.plan import Job, Plan
from metarec_sdk.evaluation.k_shot.set_run import SetRun
from metarec_sdk.evaluation.k_shot.sets import StudySet

THREAD_COUNTS = (
    *("METAREC_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    "POLARS_MAX_THREADS",
)
"""What the libraries under a fit read when they are loaded."""


@contextmanager
def workers(processes: int) -> Iterator[ProcessPoolExecutor | None]:
    """So many processes that share the cores evenly, where they aren't shared out already; None for one."""
    if processes == 1:
        yield None
        return
    share = str(max(1, (os.cpu_count() or 1) // processes))
    given = {name: os.environ.get(name) for name in THREAD_COUNTS}
    os.environ.update({name: share for name, value in given.items() if value is None})
    # Processes that are forked would inherit the threads that this one has started.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in given.items():
            if value is None:
                del os.environ[name]


def run_all(
    pool: ProcessPoolExecutor, study_set: StudySet, plan: Plan, wanted: Sequence[tuple[Job, Path]]
) -> Iterator[Job]:
    """Run jobs in the pool; each is given back when its file is written. The first error ends it."""
    waiting = {pool.submit(_run, study_set, plan, job.key, path): job for job, path in wanted}
    while waiting:
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            job = waiting.pop(future)
            future.result()
            yield job


@lru_cache(maxsize=1)
def _set_run(study_set: StudySet, plan: Plan) -> SetRun:
    """The set that this process is at; jobs come set by set."""
    return SetRun.of(study_set, plan)


def _run(study_set: StudySet, plan: Plan, key: str, path: Path) -> None:
    found = _set_run(study_set, plan)
    found.run(next(job for job in found.jobs if job.key == key), path)
