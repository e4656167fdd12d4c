"""``--param kind.name=value``: parameters of components on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from metarec_sdk.errors import ArgumentError


def parse(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Keyword arguments by component kind; a value is JSON where it can be read as such, else text.

    Raises `ArgumentError` for a text of another form or an unknown kind.
    """
    from metarec_sdk.plugins import KINDS

    params: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        kind, dot, name = path.replace("-", "_").partition(".")
        if not (equals and dot and name) or kind not in KINDS:
            raise ArgumentError(
                f"--param {text!r} should read KIND.NAME=VALUE, such as clusterer.n_tasks=4, "
                f"with a kind among {', '.join(KINDS)}"
            )
        try:
            params.setdefault(kind, {})[name] = json.loads(value)
        except json.JSONDecodeError:
            params.setdefault(kind, {})[name] = value
    return params
