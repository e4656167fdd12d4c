"""``metarec update``."""

from __future__ import annotations

from typing import Annotated

import typer

from metarec_sdk.cli.output import Json, show, show_json
from metarec_sdk.cli.recommend import Model


def update(
    model: Model,
    refit: Annotated[
        bool, typer.Option("--refit", help="Train everything again, also the backbone: the nightly clock.")
    ] = False,
    json: Json = False,
) -> None:
    """Learn from the events observed since the last generation, and publish a new one."""
    import metarec_sdk as mr

    recommender = mr.load(model)
    report = recommender.refit() if refit else recommender.update()
    if json:
        show_json(report.to_dict())
    else:
        show(str(report))
