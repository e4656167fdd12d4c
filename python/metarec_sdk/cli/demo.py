"""``metarec demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metarec_sdk.cli.output import Json, show_json


def demo(
    output: Annotated[Path, typer.Option(help="Folder for report.html and report.json.")] = Path(
        "demo-output"
    ),
    seed: Annotated[int, typer.Option(help="The same seed gives the same figures.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller models: a look around in under a minute.")
    ] = False,
    json: Json = False,
) -> None:
    """Run the whole pipeline on MovieLens-100k and write a report.

    Loads the data, splits by time, fits, compares with baselines, recommends, learns from feedback,
    updates and rolls back.
    """
    from metarec_sdk.report.demo import run_demo

    result = run_demo(output, seed=seed, quick=quick, quiet=json)
    if json:
        show_json(result)
