"""The two pluggy markers of the project."""

from __future__ import annotations

import pluggy

PROJECT = "metarec"
"""pluggy's project name: hooks of this project start with ``metarec_``."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook it is named after.

Write ``@metarec_sdk.hookimpl`` above, say, ``def metarec_register_clusterers(register)``.
"""
