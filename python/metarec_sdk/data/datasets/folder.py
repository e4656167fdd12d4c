"""Data sets that lie as Parquet in a local folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from metarec_sdk.data.datasets.dataset import Dataset
from metarec_sdk.data.ids import id_dtype
from metarec_sdk.data.reading import read_interactions
from metarec_sdk.errors import DataError, StorageError

_DEFAULT = Path("data")


@dataclass(frozen=True, slots=True)
class Form:
    """How the tables of a data set are read, where it differs from the usual columns."""

    user: str = "user_id"
    item_key: tuple[str, ...] = ("item_id",)
    """Columns that identify an item together; several are joined with a slash."""
    order: tuple[str, ...] = ()
    """Columns that the rows are sorted by first: the order of events within a user, where there are no times
    or where times are tied or inexact."""
    time: str | None = "timestamp"
    """Used where the table has it."""
    origin: int = 0
    """Seconds added to the times, where they don't count from 1970."""
    value: str | None = None
    event: str | None = None
    default_event: str = "interaction"


_FORMS = {
    "ml-1m": Form(order=("user_id", "seq"), value="rating", default_event="rating"),
    # Times count from the start of the collection in early April 2012; the exact day isn't given.
    "foursquare-nyc": Form(origin=1_333_238_400, default_event="check-in"),
    "amazon-cross-sport-cloth": Form(item_key=("domain", "item_id")),
    "amazon-cross-sport-phone": Form(item_key=("domain", "item_id")),
    "smartthings-fr": Form(user="instance_id", order=("instance_id", "step")),
    "retailrocket-3k": Form(event="behaviour"),
    "steam-200k": Form(value="hours_played"),
    "frappe": Form(value="count"),
    "assist2009": Form(value="correct", order=("user_id", "position"), default_event="answer"),
    "assist2015": Form(value="correct", order=("user_id", "position"), default_event="answer"),
}
"""Data sets that differ from the usual columns."""


def looked_in() -> str:
    """The folder that is looked into, for messages."""
    return str(os.environ.get("METAREC_DATA") or _DEFAULT)


def folder_names() -> list[str]:
    """Names of the folders that hold ``interactions.parquet``, sorted."""
    root = Path(looked_in())
    try:
        found = sorted(one.parent.name for one in root.glob("*/interactions.parquet"))
    except OSError as error:
        raise StorageError(f"can't look into {root}: {error}; set METAREC_DATA to another folder") from error
    # The policy logs have no users; they are read from their wheel, which gives them item by item.
    return [name for name in found if name != "open-bandit-small"]


def load_folder(name: str) -> Dataset:
    """The data set of a folder; its ``README.md``, where there is one, has source and terms.

    Rows with ``position`` instead of times are ordered by it; rows with neither stay in their order.
    ``rating`` becomes the value, and ``interaction`` the event type, unless the form of the set
    says otherwise.
    """
    folder = Path(looked_in()) / name
    form = _FORMS.get(name, Form())
    frame = _read(folder / "interactions.parquet")
    time = form.time if form.time in frame.columns else None
    order = form.order or ((form.user, "position") if time is None and "position" in frame.columns else ())
    if order:
        frame = frame.sort(order, maintain_order=True)
    if time is not None and form.origin:
        frame = frame.with_columns(pl.col(time).cast(pl.Int64) + form.origin)
    value = form.value or ("rating" if "rating" in frame.columns else None)
    log = read_interactions(
        _with_item_id(frame, form),
        user=form.user,
        time=time,
        value=value,
        event=form.event,
        default_event="rating" if value == "rating" else form.default_event,
    )
    items, users = _side_table(folder, "items", form), _side_table(folder, "users", form)
    terms = (
        f"read from {folder}; its source states the terms (see README.md beside the folders, where present)"
    )
    return Dataset(name, log, items, users, terms)


def _side_table(folder: Path, kind: str, form: Form) -> pl.DataFrame | None:
    path = folder / f"{kind}.parquet"
    if not path.is_file():
        return None
    frame, key = _read(path), f"{kind[:-1]}_id"
    if kind == "items":
        frame = _with_item_id(frame, form)
    if key not in frame.columns:
        raise DataError(f"{path} has no column {key!r}, only {frame.columns}")
    return frame.with_columns(pl.col(key).cast(id_dtype(frame.schema[key], key)))


def _with_item_id(frame: pl.DataFrame, form: Form) -> pl.DataFrame:
    if form.item_key == ("item_id",):
        return frame
    return frame.with_columns(item_id=pl.concat_str(*form.item_key, separator="/"))


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"can't read {path}: {error}") from error
