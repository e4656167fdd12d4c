"""``metarec bench k-shot``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from metarec_sdk.cli.ids import split_list
from metarec_sdk.cli.output import Json, frame_table, show, show_json
from metarec_sdk.errors import ArgumentError


def k_shot(
    sets: Annotated[str, typer.Option(help="all, or names: coat,ml-1m; a wrong name lists them.")] = "all",
    seeds: Annotated[
        int | None,
        typer.Option(help="How many seeds (0, 1, ...) trained parts are fitted with; 5 by default."),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="Settings tried for each baseline at each k; 6 by default.")
    ] = None,
    variants: Annotated[
        str,
        typer.Option(help="none, all, or names of what to run beside the stack; a wrong name lists them."),
    ] = "none",
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data sets; METAREC_DATA by default, else data.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of results; runs go on from what lies there.")] = Path(
        "k-shot-output"
    ),
    max_users: Annotated[
        int | None, typer.Option(help="Replace the sets' caps on users; 0 lifts them.")
    ] = None,
    own_order: Annotated[
        bool, typer.Option("--own-order", help="Judge sets with an order in it alone, not shuffled too.")
    ] = False,
    jobs: Annotated[int, typer.Option(help="Processes, each with its share of the cores.")] = 1,
    only_report: Annotated[
        bool, typer.Option("--report", help="Run nothing, only write the report.")
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="The check before a release: by default MovieLens-100k in order and shuffled (fetched), one "
            "seed, two settings a baseline.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Measure the default stack against tuned baselines on people it has never seen, after k events.

    Writes every result as a file of its own, so that an interrupted or extended run goes on where it was,
    then k-shot.csv, k-shot.json, claims.csv, tables.md, a chart for each set, and contrasts.csv where
    variants ran. Ends with exit code 1 where something leaks, or where the stack is worse than plain
    popularity beyond chance.
    """
    if seeds is not None and seeds < 1:
        raise ArgumentError(f"--seeds must be ≥ 1, got {seeds}")
    if budget is not None and budget < 1:
        raise ArgumentError(f"--budget must be ≥ 1, got {budget}")
    if jobs < 1:
        raise ArgumentError(f"--jobs must be ≥ 1, got {jobs}")
    if data is not None:
        os.environ["METAREC_DATA"] = str(data)
    from metarec_sdk.evaluation.k_shot import QUICK, SETS, VARIANTS, Plan, run_study, study_sets
    from metarec_sdk.recommender.progress import steps
    from metarec_sdk.report.k_shot_files import claims_frame, contrasts_frame, write_files

    every = list(QUICK) if quick else [each.name for each in SETS]
    names = every if sets == "all" else split_list(sets)
    chosen = list(VARIANTS)[1:] if variants == "all" else [] if variants == "none" else split_list(variants)
    plan = Plan(
        seeds=tuple(range(seeds or (1 if quick else 5))),
        budget=budget or (2 if quick else 6),
        variants=tuple(chosen),
        max_users=max_users,
        own_order=own_order,
    )
    with steps(None) as step, step("k-shot") as progress:
        study = run_study(
            study_sets(names), plan, out, run=not only_report, processes=jobs, progress=progress
        )
    if not study.results:
        raise ArgumentError(f"--out {str(out)!r} holds no complete set yet; run without --report")
    written = write_files(study, out)
    if json:
        show_json(study.to_dict() | {"failures": study.failures})
    else:
        for result in study.results:
            show(result.report.table())
        show(frame_table(claims_frame(study), "Lift of the stack over the strictest baseline"))
        show(*([str(study.mean_lift)] if study.mean_lift else []))
        if study.contrasts:
            show(frame_table(contrasts_frame(study), "Lift of variants over the stack and each other"))
        show(f"Written to {out}: {', '.join(path.name for path in written)}", *study.failures)
    if study.failures:
        raise typer.Exit(1)
