"""Where a recommender lives: generations, the durable event log and the log it was trained on."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from pathlib import Path

import polars as pl

from metarec_sdk.data import Interactions
from metarec_sdk.errors import ArtefactError, StorageError
from metarec_sdk.feedback import SQLiteEventLog
from metarec_sdk.updating import GenerationStore
from metarec_sdk.updating.durable import replace_file
from metarec_sdk.updating.frame_file import frame_to_bytes

EVENTS = "events.sqlite"
TRAINING = "training"


class Home:
    """A model folder; a temporary one until the recommender is saved somewhere."""

    def __init__(self, root: str | Path | None = None) -> None:
        """Open or create the folder. Raises `StorageError` where it can't be written."""
        self._temporary = root is None
        if root is None:
            root = tempfile.mkdtemp(prefix="metarec-")
            # It goes with this object, quietly: nobody is asked to close a recommender.
            weakref.finalize(self, shutil.rmtree, root, ignore_errors=True)
        self.root = Path(root)
        try:
            (self.root / TRAINING).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.root} can't be used as a model folder: {error}") from error
        self.store = GenerationStore(self.root)
        self._events: SQLiteEventLog | None = None

    @property
    def temporary(self) -> bool:
        """Whether the folder goes away with the process."""
        return self._temporary

    @property
    def events(self) -> SQLiteEventLog:
        """The event log, opened when it is first needed."""
        if self._events is None:
            self._events = SQLiteEventLog(self.root / EVENTS)
        return self._events

    @property
    def last_seq(self) -> int:
        """Sequence number of the last logged event, 0 where nothing was logged yet."""
        return self.events.last_seq if self._events is not None or (self.root / EVENTS).exists() else 0

    def store_training(self, log: Interactions) -> str:
        """Keep the log that a generation is trained on, for the nightly refit; the name of the file."""
        content = frame_to_bytes("training", log.frame)
        name = f"{hashlib.sha256(content).hexdigest()[:16]}.parquet"
        if not (self.root / TRAINING / name).exists():
            replace_file(self.root / TRAINING / name, content)
        return name

    def training(self, name: str) -> pl.DataFrame:
        """What `store_training` kept. Raises `ArtefactError` where it is missing."""
        path = self.root / TRAINING / name
        if not path.exists():
            raise ArtefactError(
                f"the training log {path} is missing; pass the log to fit() instead of refit()"
            )
        return pl.read_parquet(path)

    def copy_to(self, target: Path) -> Home:
        """A full copy in another folder: generations, event log, training log.

        Raises `StorageError` where the target already holds something else.
        """
        if target.exists() and any(target.iterdir()):
            raise StorageError(f"{target} exists and isn't empty; choose another folder or remove it")
        copy = Home(target)
        try:
            for path in (self.root / TRAINING).iterdir():
                shutil.copy2(path, copy.root / TRAINING)
        except OSError as error:
            raise StorageError(f"the model can't be written to {target}: {error}") from error
        if self.last_seq:
            self.events.copy_to(target / EVENTS)
        # The alias comes last: a copy that was interrupted is no model.
        self.store.export(target, generations=len(self.store.ids()))
        return copy

    def close(self) -> None:
        """Close the event log."""
        if self._events is not None:
            self._events.close()
            self._events = None
