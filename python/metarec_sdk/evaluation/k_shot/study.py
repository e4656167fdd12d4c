"""`run_study`: every job that isn't done yet, then what all of them say."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

import metarec_sdk
from metarec_sdk import _core
from metarec_sdk.evaluation.baselines import CONTESTANTS
from metarec_sdk.evaluation.contest import Contest, refusals
from metarec_sdk.evaluation.encoded_window import EncodedWindow
from metarec_sdk.evaluation.evaluation_report import ProtocolRecord
from metarec_sdk.evaluation.group import Group
from metarec_sdk.evaluation.k_shot.cells import write_cell
from metarec_sdk.evaluation.k_shot.claims import Claim, holm
from metarec_sdk.evaluation.k_shot.peak_memory import forget_peak, peak_mib
from metarec_sdk.evaluation.k_shot.plan import Job, Plan, jobs
from metarec_sdk.evaluation.k_shot.set_result import POPULARITY, SetResult, set_result
from metarec_sdk.evaluation.k_shot.sets import StudySet
from metarec_sdk.types import Progress, no_progress


@dataclass(frozen=True, slots=True)
class Study:
    """All sets."""

    plan: Plan
    results: list[SetResult]

    @property
    def headlines(self) -> list[Claim]:
        """The mean lift over the strictest baseline, one for each set and order, corrected together."""
        return holm([each for result in self.results for each in result.claims if each.k is None])

    @property
    def by_k(self) -> list[Claim]:
        """The lifts at each k, corrected together."""
        return holm([each for result in self.results for each in result.claims if each.k is not None])

    @property
    def failures(self) -> list[str]:
        """What must not be released: a leak, or a stack that is worse than plain popularity beyond chance."""
        found = []
        for result in self.results:
            name = result.study_set.name
            found += [f"{name}, {leak.order} order, k = {leak.k}: leak" for leak in result.report.leaks]
            found += [
                f"{name}, {each.order} order: {each.lift:+.1%} against popularity"
                for each in result.over_parts
                if each.over[0] == POPULARITY and each.high < 0
            ]
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "plan": asdict(self.plan),
            "headlines": [each.to_dict() for each in self.headlines],
            "by_k": [each.to_dict() for each in self.by_k],
            "sets": [
                {
                    "set": asdict(result.study_set),
                    "counts": result.counts,
                    "report": result.report.to_dict(),
                    "over_parts": [each.to_dict() for each in result.over_parts],
                    "costs": [asdict(each) for each in result.costs],
                    "missing": list(result.missing),
                }
                for result in self.results
            ],
        }


def run_study(
    sets: Sequence[StudySet],
    plan: Plan,
    folder: Path,
    *,
    run: bool = True,
    progress: Progress = no_progress,
) -> Study:
    """Run what has no result in the folder yet, one job after the other, and put all results together.

    Args:
        sets: the data sets, in the order in which they run.
        plan: the contenders and how hard each is tried.
        folder: holds one file a job under ``cells/``; interrupted or extended runs go on from there.
        run: False to put together what there is.
        progress: called as ``progress(done, total, message)`` with jobs of the sets reached so far.

    Raises:
        DataError: a set can't be cut.
        UnknownIdError: a set's data isn't there.
    """
    results = []
    done = 0
    for number, study_set in enumerate(sets):
        log = study_set.read(plan.max_users)
        protocol = study_set.protocol(plan.ks)
        prepared = protocol.prepare(log)
        group = Group([prepared])
        refused = refusals(CONTESTANTS, group)
        wanted = jobs(plan, prepared.hash, refused)
        total = done + len(wanted) * (len(sets) - number)
        validation: EncodedWindow | None = None
        for job in wanted:
            path = job.path(folder, study_set.name)
            if run and not path.exists():
                progress(done, total, f"{study_set.name}: {job.contender}, seed {job.seed}")
                if job.contestant is not None and validation is None:
                    validation = group.validation()
                _run(job, group, validation, plan, path, study_set.name)
            done += 1
        progress(done, total, study_set.name)
        record = ProtocolRecord.of(protocol, prepared, log)
        found = set_result(study_set, log, record, wanted, refused, plan, folder)
        results += [] if found is None else [found]
    return Study(plan, results)


def _run(
    job: Job, group: Group, validation: EncodedWindow | None, plan: Plan, path: Path, set_name: str
) -> None:
    contest = Contest.of(group)
    forget_peak()
    began, began_cpu = perf_counter(), process_time()
    if job.contestant is None:
        contest.run_recommender(job.recommender(), job.seed, group, None, None, lambda _: None)
    elif validation is not None:
        contest.run_baseline(job.contestant, validation, plan.budget, job.seed, lambda _: None)
    facts = {
        "set": set_name,
        "contender": job.contender,
        "seed": job.seed,
        "key": job.key,
        "seconds": perf_counter() - began,
        "cpu_seconds": process_time() - began_cpu,
        "peak_mib": peak_mib(),
        "machine": {
            "system": platform.platform(),
            "isa": _core.isa(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "metarec_sdk": metarec_sdk.__version__,
            "numpy": np.__version__,
        },
    }
    write_cell(path, contest, facts)
