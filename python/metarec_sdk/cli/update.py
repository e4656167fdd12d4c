"""``metarec update``."""

from __future__ import annotations

from typing import Annotated

import typer

from metarec_sdk.cli.output import Json, show, show_json
from metarec_sdk.cli.plugin_option import Plugins
from metarec_sdk.cli.recommend import Model


def update(
    model: Model,
    refit: Annotated[
        bool, typer.Option("--refit", help="Train everything again, also the backbone: the nightly clock.")
    ] = False,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Learn from the events observed since the last generation, and publish a new one."""
    import metarec_sdk as mr

    recommender = mr.load(model, plugins=plugin or ())
    report = recommender.refit() if refit else recommender.update()
    if json:
        show_json(report.to_dict())
    else:
        show(str(report))
