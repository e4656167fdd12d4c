"""A saved model: the store of its generations and its event log in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from metarec_sdk.updating.durable import storage_errors
from metarec_sdk.updating.generation_copy import check_is_store
from metarec_sdk.updating.generation_store import GenerationStore
from metarec_sdk.updating.store_folder import StoreFolder

if TYPE_CHECKING:
    from metarec_sdk.feedback import SQLiteEventLog

EVENTS = "events.sqlite"
"""Name of the event log beside the generations."""


def save_model_folder(
    path: str | Path, store: GenerationStore, log: SQLiteEventLog | None, *, generations: int = 1
) -> GenerationStore:
    """Copy the log and then the current generation to ``path``; return the store there.

    In this order, so that after a crash the log never ends before what the generation was trained through.
    Saving again into the same folder brings both up to date; a model that lies in ``path`` is left as it is.

    Raises:
        ConflictError: ``path`` holds another log, or events that this one hasn't.
        StorageError: it can't be written, or holds other files.
        ArtefactError: the current generation is damaged.
    """
    root = Path(path).absolute()
    with storage_errors(root, "written"):
        check_is_store(StoreFolder(root, 0.0))
        root.mkdir(exist_ok=True)
        if log is not None:
            log.copy_to(root / EVENTS)
    return store.export(root, generations=generations)
