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
from metarec_sdk.feedback.sqlite_log import IdKind
from metarec_sdk.updating import GenerationStore
from metarec_sdk.updating.durable import replace_file, storage_errors
from metarec_sdk.updating.frame_file import frame_from_bytes, frame_to_bytes

EVENTS = "events.sqlite"
TRAINING = "training"


class Home:
    """A model folder; a temporary one until the recommender is saved somewhere."""

    def __init__(self, root: str | Path | None = None) -> None:
        """``root``: the folder, made when it is first written to; None for a temporary one."""
        self._temporary = root is None
        if root is None:
            root = tempfile.mkdtemp(prefix="metarec-")
            # It goes with this object, quietly: nobody is asked to close a recommender.
            weakref.finalize(self, shutil.rmtree, root, ignore_errors=True)
        self.root = Path(root)
        self.store = GenerationStore(self.root)
        self.id_kinds: tuple[IdKind | None, IdKind | None] = (None, None)
        self._events: SQLiteEventLog | None = None

    def check_writable(self) -> None:
        """Find out before hours of training whether a generation can be written; makes the folder.

        Raises `StorageError`.
        """
        try:
            (self.root / TRAINING).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise StorageError(f"{self.root} can't be used as a model folder: {error}") from error

    @property
    def temporary(self) -> bool:
        """Whether the folder goes away with the process."""
        return self._temporary

    @property
    def events(self) -> SQLiteEventLog:
        """The event log, opened when it is first needed."""
        if self._events is None:
            users, items = self.id_kinds
            self._events = SQLiteEventLog(self.root / EVENTS, user_ids=users, item_ids=items)
        return self._events

    @property
    def last_seq(self) -> int:
        """Sequence number of the last logged event, 0 where nothing was logged yet."""
        return self.events.last_seq if self._events is not None or (self.root / EVENTS).exists() else 0

    def store_training(self, log: Interactions) -> str:
        """Keep the log that a generation is trained on, for the nightly refit; the name of the file."""
        content = frame_to_bytes("training", log.frame)
        name = _name_of(content)
        path = self.root / TRAINING / name
        if not path.exists():
            with storage_errors(path, "written"):
                replace_file(path, content)
        return name

    def training(self, name: str) -> pl.DataFrame:
        """What `store_training` kept. Raises `ArtefactError` where it is missing or was altered."""
        path = self.root / TRAINING / name
        remedy = "pass the log to fit() instead of refit()"
        if not path.is_file():
            raise ArtefactError(f"the training log {path} is missing; {remedy}")
        with storage_errors(path, "read"):
            content = path.read_bytes()
        if _name_of(content) != name:
            raise ArtefactError(f"the training log {path} is truncated or altered; {remedy}")
        return frame_from_bytes(str(path), content)

    def copy_to(self, target: Path) -> Home:
        """A full copy in another folder: generations, event log, training log.

        Raises `StorageError` where the target already holds something else.
        """
        if target.exists() and any(target.iterdir()):
            raise StorageError(f"{target} exists and isn't empty; choose another folder or remove it")
        copy = Home(target)
        copy.check_writable()
        for path in (self.root / TRAINING).iterdir():
            with storage_errors(target, "written"):
                replace_file(copy.root / TRAINING / path.name, path.read_bytes())
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


def _name_of(content: bytes) -> str:
    return f"{hashlib.sha256(content).hexdigest()[:32]}.parquet"
