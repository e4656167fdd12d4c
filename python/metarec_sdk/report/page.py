"""One self-contained HTML page from the result of a demo."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from metarec_sdk.errors import MissingDependencyError


def render(result: dict[str, Any], charts: dict[str, str]) -> str:
    """The page: figures and texts of ``result`` (escaped), ``charts`` as inline SVG.

    Raises `MissingDependencyError` without jinja2.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise MissingDependencyError.extra("jinja2", "report", "writing the report") from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        files("metarec_sdk.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    )
    return template.render(**result, charts={name: Markup(svg) for name, svg in charts.items()})
