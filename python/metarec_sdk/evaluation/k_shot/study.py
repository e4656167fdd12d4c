"""`run_study`: every job that isn't done yet, then what all of them say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from metarec_sdk.data import Interactions
from metarec_sdk.evaluation.baselines import CONTESTANTS
from metarec_sdk.evaluation.contest import Contest, refusals
from metarec_sdk.evaluation.encoded_window import EncodedWindow
from metarec_sdk.evaluation.evaluation_report import EvaluationReport, ProtocolRecord
from metarec_sdk.evaluation.group import Group
from metarec_sdk.evaluation.k_shot.cells import read_cell, write_cell
from metarec_sdk.evaluation.k_shot.claims import Claim, Lifted, claim, holm
from metarec_sdk.evaluation.k_shot.peak_memory import forget_peak, peak_mib
from metarec_sdk.evaluation.k_shot.plan import Job, Plan, jobs
from metarec_sdk.evaluation.k_shot.sets import StudySet
from metarec_sdk.evaluation.leak_check import LeakCheck, leak_check
from metarec_sdk.evaluation.rows import Row, rows_of
from metarec_sdk.evaluation.scores import BACKBONE, RECOMMENDER, CaseBoard
from metarec_sdk.types import Progress, no_progress


@dataclass(frozen=True, slots=True)
class Cost:
    """What one job took."""

    contender: str
    seed: int
    seconds: float
    """Wall clock, tuning and ranking included."""
    cpu_seconds: float
    """Processor time of all threads: what is comparable where others use the machine."""
    peak_mib: float
    """Resident memory at most, the loaded log included."""


@dataclass(frozen=True, slots=True)
class SetResult:
    """One data set: the report, and the claims about the stack."""

    study_set: StudySet
    counts: dict[str, int]
    """Events, users and items after the cap; users judged."""
    report: EvaluationReport
    claims: list[Claim]
    """Over the strictest baseline: at each k, and in the mean of k ≥ 1; for each order."""
    members: list[Claim]
    """Over the stack's own members, in the mean of k ≥ 1."""
    costs: list[Cost]
    missing: tuple[str, ...]
    """Contenders that have no result yet."""


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
                for each in result.members
                if each.over[0] == "popularity" and each.high < 0
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
                    "over_parts": [each.to_dict() for each in result.members],
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
        found = _result(study_set, log, record, wanted, refused, plan, folder)
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
    }
    write_cell(path, contest, facts)


def _result(
    study_set: StudySet,
    log: Interactions,
    record: ProtocolRecord,
    wanted: list[Job],
    refused: dict[str, str],
    plan: Plan,
    folder: Path,
) -> SetResult | None:
    """The cells of a set put together; None where the stack or every baseline is missing."""
    cells = [(job, job.path(folder, study_set.name)) for job in wanted]
    missing = tuple(
        dict.fromkeys(job.contender for job, path in cells if not path.exists())
    )  # a contender with some of its seeds would be compared unevenly
    costs: list[Cost] = []
    boards: dict[tuple[str, str, int], CaseBoard] = {}
    for job, path in cells:
        if job.contender in missing:
            continue
        cell = read_cell(path)
        costs.append(Cost(job.contender, job.seed, cell["seconds"], cell["cpu_seconds"], cell["peak_mib"]))
        for board in cell["cases"]:
            _merge(boards, board, job.contender)
    if RECOMMENDER in missing or all(each.name in missing or each.name in refused for each in CONTESTANTS):
        return None

    rows: list[Row] = []
    checks: list[LeakCheck] = []
    over_strictest: dict[str, list[Lifted]] = {}
    over_parts: dict[tuple[str, str], list[Lifted]] = {}
    claims: list[Claim] = []
    unpersonal = {each.name for each in CONTESTANTS if not each.personal}
    for (_, order, k), board in boards.items():
        case_rows, resampled, names = rows_of(board, plan.seeds, plan.n_draws)
        rows += case_rows
        check = leak_check(board.key, resampled, names, unpersonal)
        checks += [] if check is None else [check]
        strictest = next(row.lift.over for row in case_rows if row.lift is not None)
        lifted = Lifted.between(resampled, names, RECOMMENDER, strictest)
        claims.append(claim(study_set.name, order, k, [lifted]))
        if k > 0:
            over_strictest.setdefault(order, []).append(lifted)
            for name in names:
                if name in (BACKBONE, "popularity") or name.startswith(("member: ", "variant: ")):
                    part = Lifted.between(resampled, names, RECOMMENDER, name)
                    over_parts.setdefault((order, name), []).append(part)
    claims += [claim(study_set.name, order, None, lifts) for order, lifts in over_strictest.items()]
    members = [claim(study_set.name, order, None, lifts) for (order, _), lifts in over_parts.items()]
    counts = {
        "events": log.n_events,
        "users": log.n_users,
        "items": log.n_items,
        "judged": next(iter(boards.values())).n_users,
    }
    seconds = sum(cost.seconds for cost in costs)
    report = EvaluationReport(rows, checks, [record], plan.seeds, plan.budget, refused, seconds)
    return SetResult(study_set, counts, report, claims, members, costs, missing)


def _merge(boards: dict[tuple[str, str, int], CaseBoard], board: CaseBoard, contender: str) -> None:
    """Add one cell's methods to a set's boards; a variant brings only itself, under its own name."""
    methods = board.methods
    if contender not in (RECOMMENDER, *(each.name for each in CONTESTANTS)):
        variant = methods[RECOMMENDER]
        variant.method, variant.kind = f"variant: {contender}", "ablation"
        methods = {variant.method: variant}
    merged = boards.setdefault(
        board.key,
        CaseBoard(
            board.key, board.n_users, board.catalogue_size, board.unknown_share, board.protocol_hash
        ),
    )
    for name, method in methods.items():
        if name in merged.methods:
            merged.methods[name].seeds += method.seeds
            merged.methods[name].fit_seconds += method.fit_seconds
        else:
            merged.methods[name] = method
