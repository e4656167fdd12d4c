"""One data set of the study, cut and ready for its jobs."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

import metarec_sdk
from metarec_sdk import _core
from metarec_sdk.data import Interactions
from metarec_sdk.evaluation.baselines import CONTESTANTS
from metarec_sdk.evaluation.cases import Prepared
from metarec_sdk.evaluation.contest import Contest, refusals
from metarec_sdk.evaluation.encoded_window import EncodedWindow
from metarec_sdk.evaluation.evaluation_report import ProtocolRecord
from metarec_sdk.evaluation.group import Group
from metarec_sdk.evaluation.k_shot.cells import write_cell
from metarec_sdk.evaluation.k_shot.domains import in_domain
from metarec_sdk.evaluation.k_shot.peak_memory import forget_peak, peak_mib
from metarec_sdk.evaluation.k_shot.plan import Job, Plan, jobs
from metarec_sdk.evaluation.k_shot.sets import StudySet


@dataclass
class SetRun:
    """A set's log, its cut, and the jobs that there are."""

    study_set: StudySet
    plan: Plan
    log: Interactions
    prepared: Prepared
    refused: dict[str, str]
    """Why some baselines can't run, by name."""
    jobs: list[Job]
    group: Group
    _validation: EncodedWindow | None = field(default=None, repr=False)

    @classmethod
    def of(cls, study_set: StudySet, plan: Plan) -> SetRun:
        """Read and cut the set.

        Raises:
            DataError: the set can't be cut.
            UnknownIdError: a set's data isn't there.
        """
        log = study_set.read(plan.max_users)
        prepared = study_set.protocol(plan.ks).prepare(log)
        group = Group([prepared])
        refused = refusals(CONTESTANTS, group)
        found = jobs(plan, study_set, log, prepared.hash, refused)
        return cls(study_set, plan, log, prepared, refused, found, group)

    @property
    def record(self) -> ProtocolRecord:
        """The protocol as it was run."""
        return ProtocolRecord.of(self.study_set.protocol(self.plan.ks), self.prepared, self.log)

    @property
    def validation(self) -> EncodedWindow:
        """The window that baselines are tuned on."""
        if self._validation is None:
            self._validation = self.group.validation()
        return self._validation

    def run(self, job: Job, path: Path) -> None:
        """Run a job and write its file."""
        contest = Contest.of(self.group, job.order)
        if job.contestant is not None:
            self.validation  # noqa: B018 - made once for all baselines, so it is no part of anybody's cost
        forget_peak()
        began, began_cpu = perf_counter(), process_time()
        if job.contestant is None:
            train = self._target_alone() if job.target_only else self.group.train
            contest.run_recommender(
                job.recommender(), job.seed, train, job.items, job.users, lambda _: None, leave_out=True
            )
        else:
            contest.run_baseline(job.contestant, self.validation, self.plan.budget, job.seed, lambda _: None)
        facts = {
            "set": self.study_set.name,
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
                "threads": _core.threads(),
                "python": platform.python_version(),
                "metarec_sdk": metarec_sdk.__version__,
                "numpy": np.__version__,
            },
        }
        write_cell(path, contest, facts)

    def _target_alone(self) -> Interactions:
        assert self.study_set.domains is not None
        train = self.group.train
        return train.replaced(in_domain(train.frame, self.study_set.domains[1]))
