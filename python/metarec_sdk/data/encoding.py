"""From a log with external ids to histories over dense indices."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from metarec_sdk.data.interactions import Interactions
from metarec_sdk.data.stable_order import event_order
from metarec_sdk.data.vocabulary import UNKNOWN, Vocabulary
from metarec_sdk.errors import ArgumentError, UnknownIdError
from metarec_sdk.types import Float32, Histories, Int32, TrainingLog


def encode(
    log: Interactions,
    *,
    users: Vocabulary | None = None,
    items: Vocabulary | None = None,
    weights: Float32 | None = None,
    unknown: Literal["drop", "raise"] = "drop",
) -> tuple[TrainingLog, Vocabulary, Vocabulary]:
    """Histories of all users, oldest event first, ties by row.

    Row ``i`` of the histories is the user with index ``i``; a user of the given vocabulary without an event
    has an empty row.

    Args:
        log: the events.
        users: indices of the users; built from the log where None.
        items: indices of the items (n = its length); built from the log where None.
        weights: f32[e] ≥ 0, one for each row of ``log.frame``; all 1 where None.
        unknown: what to do with events whose user or item isn't in a given vocabulary.

    Returns:
        The training log, the users' and the items' vocabulary.

    Raises:
        ArgumentError: where weights aren't f32[e], finite and ≥ 0.
        UnknownIdError: for an unknown user or item with ``unknown="raise"``.
        ColumnError: where ids are of another kind than those of a given vocabulary.
    """
    frame = log.frame
    event_weights = _checked_weights(weights, frame.height)
    users_given, items_given = users is not None, items is not None
    users = Vocabulary.from_ids(frame["user_id"]) if users is None else users
    items = Vocabulary.from_ids(frame["item_id"]) if items is None else items
    user_index, item_index = users.encode(frame["user_id"]), items.encode(frame["item_id"])
    if unknown == "raise":
        _refuse_unknown(frame["user_id"], user_index, "user", len(users))
        _refuse_unknown(frame["item_id"], item_index, "item", len(items))
    order = event_order(user_index, frame["timestamp"], frame["row"])
    if users_given or items_given:
        known = (user_index != UNKNOWN) & (item_index != UNKNOWN)
        if not known.all():
            order = order[known[order]]
    everything = len(order) == len(user_index)
    counts = np.bincount(user_index if everything else user_index[order], minlength=len(users))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    histories = Histories(
        item_index[order],
        offsets,
        event_weights[order] if weights is not None else event_weights[: len(order)],
        frame["timestamp"].to_numpy()[order],
    )
    return TrainingLog(histories, len(items)), users, items


def _checked_weights(weights: Float32 | None, n_events: int) -> Float32:
    if weights is None:
        return np.ones(n_events, np.float32)
    array = np.asarray(weights, np.float32)
    if array.shape != (n_events,):
        raise ArgumentError(
            f"weights must be f32[{n_events}], one for each row of the log, got {array.shape}"
        )
    if not np.isfinite(array).all() or (array < 0).any():
        raise ArgumentError("weights must be finite and ≥ 0")
    return array


def _refuse_unknown(ids: pl.Series, index: Int32, kind: str, n_known: int) -> None:
    missing = index == UNKNOWN
    if missing.any():
        first = ids[int(np.argmax(missing))]
        raise UnknownIdError(
            f"{int(missing.sum())} events have a {kind} that isn't among the {n_known} known ones, "
            f"e.g. {first!r}; use unknown='drop' to leave them out"
        )
