"""Components as the recommender builds them, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metarec_sdk import PluginManager


@pytest.fixture
def segments() -> Callable[..., Any]:
    """``segments("gmm", **params)``: a new component."""
    manager = PluginManager(enabled=["segments"], strict=True)
    return lambda name, **params: manager.create("clusterer", f"segments/{name}", params)
