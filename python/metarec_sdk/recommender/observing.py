"""The event clock: an event is durable first, then part of its user's history."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from difflib import get_close_matches

import polars as pl

from metarec_sdk.errors import UnknownIdError
from metarec_sdk.feedback import Event, events_from_frame
from metarec_sdk.recommender.home import Home
from metarec_sdk.recommender.serving import Served
from metarec_sdk.types import FeedbackModel

STANDARD_EVENTS = ("view", "click", "cart", "purchase", "rating", "dwell")
"""Event types that are always known; others have to occur in the log that was trained on."""


class Observing:
    """Takes events in for one generation."""

    def __init__(self, home: Home, served: Served, feedback: FeedbackModel) -> None:
        self._home = home
        self._served = served
        self._feedback = feedback
        self._known_types = {*STANDARD_EVENTS, *served.event_types}

    def observe(self, events: Sequence[Event]) -> list[int]:
        """Store the events durably, all or none, then let them count. Returns their sequence numbers.

        Raises `UnknownIdError` for a type of event that was never seen, and what `EventLog.append` raises.
        """
        for place, event in enumerate(events):
            self._check_type(place, event.event_type)
        if self._home.temporary:
            warnings.warn(
                "this recommender lives in a temporary folder: events are gone with the process unless you "
                "pass home= or call save(path)",
                stacklevel=4,
            )
        before = self._home.last_seq
        numbers = self._home.events.append(events)
        # A redelivery keeps its old number and already counts; a batch may mix both.
        self._count(self._home.events.read(after_seq=before).filter(pl.col("seq").is_in(numbers)))
        return numbers

    def observe_frame(self, frame: pl.DataFrame) -> list[int]:
        """The rows of a frame as events."""
        return self.observe(events_from_frame(frame))

    def replay(self) -> None:
        """Let everything count that was logged after the generation was trained."""
        if self._home.last_seq > self._served.trained_through:
            self._count(self._home.events.read(after_seq=self._served.trained_through))

    def _count(self, frame: pl.DataFrame) -> None:
        if frame.is_empty():
            return
        _, weights = self._feedback.weigh(frame)
        items = self._served.items.encode(frame["item_id"])
        for user, item, weight, timestamp in zip(frame["user_id"], items, weights, frame["timestamp"]):
            if item >= 0:  # an item that is new joins the catalogue at the next update
                self._served.users.add(user, int(item), float(weight), timestamp)

    def _check_type(self, place: int, event_type: str) -> None:
        if event_type in self._known_types:
            return
        close = get_close_matches(str(event_type), self._known_types, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UnknownIdError(
            f"event {place} of the batch: type {event_type!r} is not known; there are "
            f"{sorted(self._known_types)}.{hint}"
        )
