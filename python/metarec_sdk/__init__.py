"""metarec_sdk: recommendations that fit every segment and every new user after a handful of events.

Public names are imported on first use, so that ``import metarec_sdk`` is quick and needs no torch::

    import metarec_sdk as mr

    log = mr.read_interactions("events.parquet", user="user_id", item="item_id", time="ts")
    rec = mr.Recommender(backbone="factors", seed=7)
    rec.fit(log)
    rec.recommend(["u1", "u2"], k=10)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metarec_sdk.data import (
        CleaningReport,
        Interactions,
        Vocabulary,
        behaviour_features,
        clean,
        datasets,
        read_interactions,
        splits,
    )
    from metarec_sdk.errors import (
        ArgumentError,
        ArtefactError,
        ColumnError,
        ConflictError,
        DataError,
        DataWarning,
        MetarecError,
        MissingDependencyError,
        NotFittedError,
        PluginError,
        StorageError,
        UnknownIdError,
    )
    from metarec_sdk.evaluation import EvaluationReport, evaluate
    from metarec_sdk.plugins import PluginManager, hookimpl
    from metarec_sdk.recommender import FitReport, Recommender, load
    from metarec_sdk.types import Histories, TopK

    __version__: str

__all__ = [
    "ArgumentError",
    "ArtefactError",
    "CleaningReport",
    "ColumnError",
    "ConflictError",
    "DataError",
    "DataWarning",
    "EvaluationReport",
    "FitReport",
    "Histories",
    "Interactions",
    "MetarecError",
    "MissingDependencyError",
    "NotFittedError",
    "PluginError",
    "PluginManager",
    "Recommender",
    "StorageError",
    "TopK",
    "UnknownIdError",
    "Vocabulary",
    "__version__",
    "behaviour_features",
    "clean",
    "datasets",
    "evaluate",
    "hookimpl",
    "load",
    "read_interactions",
    "splits",
]

_HOMES = {
    "metarec_sdk.data": (
        "CleaningReport",
        "Interactions",
        "Vocabulary",
        "behaviour_features",
        "clean",
        "datasets",
        "read_interactions",
        "splits",
    ),
    "metarec_sdk.errors": (
        "ArgumentError",
        "ArtefactError",
        "ColumnError",
        "ConflictError",
        "DataError",
        "DataWarning",
        "MetarecError",
        "MissingDependencyError",
        "NotFittedError",
        "PluginError",
        "StorageError",
        "UnknownIdError",
    ),
    "metarec_sdk.evaluation": ("EvaluationReport", "evaluate"),
    "metarec_sdk.plugins": ("PluginManager", "hookimpl"),
    "metarec_sdk.recommender": ("FitReport", "Recommender", "load"),
    "metarec_sdk.types": ("Histories", "TopK"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
"""Public name -> module that defines it."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("metarec-sdk")
    elif name in _HOME_OF:
        home = importlib.import_module(_HOME_OF[name])
        value = getattr(home, name, None) or importlib.import_module(f"{home.__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
