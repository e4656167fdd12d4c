"""`evaluate`: a recommender against tuned baselines, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from metarec_sdk.errors import ArgumentError, UnknownIdError
from metarec_sdk.evaluation.baselines import Contestant, contestants
from metarec_sdk.evaluation.contender import Contender
from metarec_sdk.evaluation.contest import Contest, refusals
from metarec_sdk.evaluation.evaluation_report import EvaluationReport, ProtocolRecord
from metarec_sdk.evaluation.group import grouped
from metarec_sdk.evaluation.leak_check import LeakCheck, leak_check
from metarec_sdk.evaluation.protocols import ColdStart, LeaveOneOut, Protocol, Warm
from metarec_sdk.evaluation.rows import Row, rows_of
from metarec_sdk.types import Progress, no_progress

if TYPE_CHECKING:
    import polars as pl

    from metarec_sdk.data import Interactions

_BY_NAME: dict[str, tuple[Protocol, ...]] = {
    "cold-start": (ColdStart(),),
    "warm": (Warm(),),
    "leave-one-out": (LeaveOneOut(),),
    "both": (ColdStart(), Warm()),
}


def evaluate(
    recommender: Contender | None,
    log: Interactions,
    *,
    protocol: str | Protocol | Sequence[str | Protocol] = "cold-start",
    seeds: Sequence[int] = (0,),
    baselines: str | Sequence[str | Contestant] = "all",
    items: pl.DataFrame | None = None,
    users: pl.DataFrame | None = None,
    budget: int = 6,
    n_draws: int = 1000,
    progress: Progress = no_progress,
) -> EvaluationReport:
    """Measure a recommender under a protocol, next to baselines that were tuned as hard as their grids allow.

    The recommender itself isn't touched: a clone is fitted for each seed, on training events only. Ranking is
    over all items seen in training, seen items left out; wanted items outside this catalogue are misses, for
    everybody. Baselines learn from first visits with unit weights.

    Args:
        recommender: anything with ``clone``, ``fit``, ``rank``, ``members`` and ``items`` (see `Contender`);
            None to measure the baselines alone.
        log: the whole log.
        protocol: ``"cold-start"``, ``"warm"``, ``"leave-one-out"``, ``"both"`` (the first two, one fit for
            both), a protocol object such as `ColdStart`, or several of these.
        seeds: one fit each; intervals cover users and seeds. Five or more for anything trained by SGD.
        baselines: ``"all"``, names, `Contestant` objects, or ``()`` for none.
        items: the items' table for the recommender, or None.
        users: the users' table for the recommender, or None. With ``clusterer="column"`` everybody judged is
            ranked in the task that it gives them; it must hold nothing that the events to be found decided.
        budget: settings tried for each baseline on validation, per case.
        n_draws: bootstrap resamples.
        progress: called as ``progress(done, total, message)``.

    Returns:
        The report, with one row for each method and case.

    Raises:
        ArgumentError: no seed, the same one twice, nothing to evaluate, or a protocol doesn't fit the log.
        DataError: the log can't be cut as the protocol needs.
        UnknownIdError: there is no such protocol or baseline.
    """
    began = perf_counter()
    chosen = contestants(baselines)
    if not seeds or len(set(seeds)) != len(seeds):
        raise ArgumentError(f"seeds must be different integers, at least one, got {list(seeds)}")
    if recommender is None and not chosen:
        raise ArgumentError("there is nothing to evaluate: give a recommender, or baselines")
    protocols = _protocols(protocol)
    prepared = [each.prepare(log) for each in protocols]
    groups = grouped(prepared)

    total = 2 * len(seeds) * (recommender is not None) * len(groups)
    total += len(groups) * sum(1 + len(each.grid[:budget]) for each in chosen)
    done = 0

    def step(message: str) -> None:
        nonlocal done
        done += 1
        progress(min(done, total), total, message)

    rows: list[Row] = []
    checks: list[LeakCheck] = []
    skipped: dict[str, str] = {}
    for group in groups:
        contest, refused = Contest.of(group), refusals(chosen, group)
        skipped |= refused
        if recommender is not None:
            for seed in seeds:
                contest.run_recommender(recommender, seed, group.train, items, users, step)
        validation = group.validation() if chosen else None
        for contestant in chosen:
            if contestant.name in refused:
                done += 1 + len(contestant.grid[:budget])
            elif validation is not None:
                contest.run_baseline(contestant, validation, budget, seeds[0], step)
        unpersonal = {contestant.name for contestant in chosen if not contestant.personal}
        for board in contest.boards.values():
            case_rows, resampled, names = rows_of(board, tuple(seeds), n_draws)
            rows += case_rows
            check = leak_check(board.key, resampled, names, unpersonal)
            checks += [] if check is None else [check]
    records = [ProtocolRecord.of(each, part, log) for each, part in zip(protocols, prepared, strict=True)]
    return EvaluationReport(rows, checks, records, tuple(seeds), budget, skipped, perf_counter() - began)


def _protocols(wanted: str | Protocol | Sequence[str | Protocol]) -> list[Protocol]:
    """Protocol objects from names and objects."""
    several = [wanted] if isinstance(wanted, str) or not isinstance(wanted, Sequence) else list(wanted)
    protocols: list[Protocol] = []
    for each in several:
        if not isinstance(each, str):
            protocols.append(each)
        elif each in _BY_NAME:
            protocols += _BY_NAME[each]
        else:
            raise UnknownIdError(f"there is no protocol {each!r}; there are {sorted(_BY_NAME)}")
    if not protocols:
        raise ArgumentError("protocol must name at least one protocol")
    return protocols
