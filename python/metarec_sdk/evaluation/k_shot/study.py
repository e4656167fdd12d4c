"""`run_study`: every job that isn't done yet, then what all of them say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.k_shot.claims import Claim, MeanLift, holm
from metarec_sdk.evaluation.k_shot.plan import Plan
from metarec_sdk.evaluation.k_shot.set_result import POPULARITY, SetResult, set_result
from metarec_sdk.evaluation.k_shot.set_run import SetRun
from metarec_sdk.evaluation.k_shot.sets import StudySet
from metarec_sdk.evaluation.k_shot.workers import run_all, workers
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
    def mean_lift(self) -> MeanLift | None:
        """The mean of the headlines of all sets, each in its own order; None where none of those has run."""
        own = {(result.study_set.name, result.study_set.orders[0]) for result in self.results}
        claims = [each for each in self.headlines if (each.set_name, each.order) in own]
        return MeanLift.of(claims) if claims else None

    @property
    def by_k(self) -> list[Claim]:
        """The lifts at each k, corrected together."""
        return holm([each for result in self.results for each in result.claims if each.k is not None])

    @property
    def contrasts(self) -> list[Claim]:
        """Variants against the stack and each other in the mean of k ≥ 1, corrected together."""
        return holm([each for result in self.results for each in result.contrasts])

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
            "mean_lift": asdict(self.mean_lift) if self.mean_lift else None,
            "by_k": [each.to_dict() for each in self.by_k],
            "contrasts": [each.to_dict() for each in self.contrasts],
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
    processes: int = 1,
    progress: Progress = no_progress,
) -> Study:
    """Run what has no result in the folder yet and put all results together.

    Args:
        sets: the data sets, in the order in which they run.
        plan: the contenders and how hard each is tried.
        folder: holds one file a job under ``cells/``; interrupted or extended runs go on from there.
        run: False to put together what there is.
        processes: jobs of a set that run at the same time.
        progress: called as ``progress(done, total, message)`` with jobs of the sets reached so far.

    Raises:
        ArgumentError: ``processes`` is below 1.
        DataError: a set can't be cut.
        UnknownIdError: a set's data isn't there.
    """
    if processes < 1:
        raise ArgumentError(f"processes must be at least 1, got {processes}")
    results = []
    done = 0
    with workers(processes if run else 1) as pool:
        for number, study_set in enumerate(sets):
            found = SetRun.of(study_set, plan)
            total = done + len(found.jobs) * (len(sets) - number)
            paths = [(job, job.path(folder, study_set.name)) for job in found.jobs]
            wanted = [(job, path) for job, path in paths if run and not path.exists()]
            done += len(paths) - len(wanted)
            if pool is None:
                for job, path in wanted:
                    progress(done, total, f"{study_set.name}: {job.contender}, seed {job.seed}")
                    found.run(job, path)
                    done += 1
            elif wanted:
                progress(done, total, f"{study_set.name}: {len(wanted)} jobs, {processes} at a time")
                for job in run_all(pool, study_set, plan, wanted):
                    done += 1
                    progress(done, total, f"{study_set.name}: {job.contender}, seed {job.seed} done")
            progress(done, total, study_set.name)
            result = set_result(study_set, found.log, found.record, found.jobs, found.refused, plan, folder)
            results += [] if result is None else [result]
    return Study(plan, results)
