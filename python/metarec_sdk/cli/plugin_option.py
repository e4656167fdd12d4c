"""The option ``--plugin`` of the commands that build or load a model."""

from __future__ import annotations

from typing import Annotated

import typer

Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", help="A .py file or a module with a plugin, beside the installed; repeatable."),
]
