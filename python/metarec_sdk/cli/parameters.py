"""``--param``: parameters of components on the command line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

from metarec_sdk.errors import ArgumentError


def parse(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Keyword arguments by component kind, of ``KIND.NAME=VALUE``.

    A value is JSON where it can be read as such, else text.
    Raises `ArgumentError` for a text of another form or an unknown kind.
    """
    from metarec_sdk.plugins import KINDS

    params: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, name, value = _parts(text)
        kind = path.replace("-", "_")
        if not name or kind not in KINDS:
            raise ArgumentError(
                f"--param {text!r} should read KIND.NAME=VALUE, such as clusterer.n_tasks=4, "
                f"with a kind among {', '.join(KINDS)}"
            )
        params.setdefault(kind, {})[name.replace("-", "_")] = value
    return params


def parse_by_component(texts: Iterable[str], components: Collection[str]) -> dict[str, dict[str, Any]]:
    """Keyword arguments by component, of ``COMPONENT.NAME=VALUE``; values as in `parse`.

    Raises `ArgumentError` for a text of another form or a component that isn't among those.
    """
    params: dict[str, dict[str, Any]] = {}
    for text in texts:
        component, name, value = _parts(text)
        if not name or component not in components:
            raise ArgumentError(
                f"--param {text!r} should read COMPONENT.NAME=VALUE, such as segments/svm.min_size=8, "
                f"with a component among {', '.join(sorted(components))}"
            )
        params.setdefault(component, {})[name.replace("-", "_")] = value
    return params


def _parts(text: str) -> tuple[str, str, Any]:
    """(what is before the dot, name, value); the name is empty where the text has another form."""
    path, equals, value = text.partition("=")
    target, _, name = path.partition(".")
    if not equals:
        return target, "", None
    try:
        return target, name, json.loads(value)
    except json.JSONDecodeError:
        return target, name, value
