"""``metarec datasets``."""

from __future__ import annotations

from metarec_sdk.cli.output import Json, show, show_json


def datasets(json: Json = False) -> None:
    """List the data sets that can be given as dataset:NAME."""
    import metarec_sdk as mr

    names = mr.datasets.available()
    if json:
        show_json(names)
    else:
        show("\n".join(names))
