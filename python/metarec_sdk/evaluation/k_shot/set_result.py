"""One data set of the study: all its cells put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from metarec_sdk.data import Interactions
from metarec_sdk.evaluation.baselines import CONTESTANTS
from metarec_sdk.evaluation.evaluation_report import EvaluationReport, ProtocolRecord
from metarec_sdk.evaluation.k_shot.cells import read_cell
from metarec_sdk.evaluation.k_shot.claims import Claim, Lifted, claim
from metarec_sdk.evaluation.k_shot.plan import Job, Plan
from metarec_sdk.evaluation.k_shot.sets import StudySet
from metarec_sdk.evaluation.k_shot.variants import CONTRASTS, method_of
from metarec_sdk.evaluation.leak_check import LeakCheck, leak_check
from metarec_sdk.evaluation.rows import Row, rows_of
from metarec_sdk.evaluation.scores import RECOMMENDER, WITHOUT, CaseBoard

POPULARITY = "popularity"


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
    over_parts: list[Claim]
    """Over plain popularity, the stack's own members and itself without each, in the mean of k ≥ 1."""
    contrasts: list[Claim]
    """Variants over the stack and over each other, in the mean of k ≥ 1."""
    costs: list[Cost]
    missing: tuple[str, ...]
    """Contenders that have no result yet."""

    @property
    def orders(self) -> list[str]:
        """The orders that were judged, the set's own first."""
        judged = {row.order for row in self.report.rows}
        return [order for order in self.study_set.orders if order in judged]


def set_result(
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
    # A contender with only some of its seeds would be compared unevenly.
    missing = tuple(dict.fromkeys(job.contender for job, path in cells if not path.exists()))
    if RECOMMENDER in missing or all(each.name in missing or each.name in refused for each in CONTESTANTS):
        return None
    costs: list[Cost] = []
    boards: dict[tuple[str, str, int], CaseBoard] = {}
    for job, path in cells:
        if job.contender not in missing:
            cell = read_cell(path)
            costs.append(
                Cost(job.contender, job.seed, cell["seconds"], cell["cpu_seconds"], cell["peak_mib"])
            )
            for board in cell["cases"]:
                _merge(boards, board, job)
    boards = {key: board for key, board in boards.items() if RECOMMENDER in board.methods}
    rows, checks, claims, over_parts, contrasts = _compare(study_set.name, boards.values(), plan)
    counts = {
        "events": log.n_events,
        "users": log.n_users,
        "items": log.n_items,
        "judged": next(iter(boards.values())).n_users,
    }
    seconds = sum(cost.seconds for cost in costs)
    report = EvaluationReport(rows, checks, [record], plan.seeds, plan.budget, refused, seconds)
    return SetResult(study_set, counts, report, claims, over_parts, contrasts, costs, missing)


def _compare(
    name: str, boards: Iterable[CaseBoard], plan: Plan
) -> tuple[list[Row], list[LeakCheck], list[Claim], list[Claim], list[Claim]]:
    """Rows, leak checks, claims over the strictest baseline, over parts, and between variants."""
    rows: list[Row] = []
    checks: list[LeakCheck] = []
    claims: list[Claim] = []
    over_strictest: dict[str, list[Lifted]] = {}
    over_parts: dict[tuple[str, str], list[Lifted]] = {}
    contrasts: dict[tuple[str, str, str], list[Lifted]] = {}
    unpersonal = {each.name for each in CONTESTANTS if not each.personal}
    for board in boards:
        _, order, k = board.key
        case_rows, resampled, names = rows_of(board, plan.seeds, plan.n_draws)
        rows += case_rows
        check = leak_check(board.key, resampled, names, unpersonal)
        checks += [] if check is None else [check]
        strictest = next(row.lift.over for row in case_rows if row.lift is not None)
        lifted = Lifted.between(resampled, names, RECOMMENDER, strictest)
        claims.append(claim(name, order, k, [lifted]))
        if k > 0:
            over_strictest.setdefault(order, []).append(lifted)
            for part in names:
                if part == POPULARITY or part.startswith(("member: ", WITHOUT)):
                    lifts = over_parts.setdefault((order, part), [])
                    lifts.append(Lifted.between(resampled, names, RECOMMENDER, part))
            for pair in CONTRASTS:
                method, other = map(method_of, pair)
                if method in names and other in names:
                    lifts = contrasts.setdefault((order, method, other), [])
                    lifts.append(Lifted.between(resampled, names, method, other))
    claims += [claim(name, order, None, lifts) for order, lifts in over_strictest.items()]
    parts = [claim(name, order, None, lifts) for (order, _), lifts in over_parts.items()]
    pairs = [claim(name, order, None, lifts, method) for (order, method, _), lifts in contrasts.items()]
    return rows, checks, claims, parts, pairs


def _merge(boards: dict[tuple[str, str, int], CaseBoard], board: CaseBoard, job: Job) -> None:
    """Add one cell's methods to a set's boards; a variant brings only itself, under its own name."""
    methods = board.methods
    if job.contestant is None and job.contender != RECOMMENDER:
        variant = methods[RECOMMENDER]
        variant.method, variant.kind = method_of(job.contender), "ablation"
        methods = {variant.method: variant}
    if board.key not in boards:
        boards[board.key] = CaseBoard(
            board.key, board.n_users, board.catalogue_size, board.unknown_share, board.protocol_hash
        )
    merged = boards[board.key].methods
    for name, method in methods.items():
        if name in merged:
            merged[name].seeds += method.seeds
            merged[name].fit_seconds += method.fit_seconds
        else:
            merged[name] = method
