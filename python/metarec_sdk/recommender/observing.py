"""The event clock: an event is durable first, then part of its user's history."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np

from metarec_sdk.errors import UnknownIdError
from metarec_sdk.feedback import Event
from metarec_sdk.plugins.fallback import answered
from metarec_sdk.recommender.home import Home
from metarec_sdk.recommender.serving import Served
from metarec_sdk.types import FeedbackModel

STANDARD_EVENTS = ("view", "click", "cart", "purchase", "rating", "dwell")
"""Event types that are always known; others have to occur in the log that was trained on."""


class Observing:
    """One generation being served, kept up with the event log."""

    def __init__(self, home: Home, served: Served, feedback: FeedbackModel) -> None:
        self.served = served
        self.feedback = feedback
        self._home = home
        self._known_types = {*STANDARD_EVENTS, *served.event_types}
        self._counted = served.trained_through
        self._lock = threading.Lock()

    def store(self, events: Sequence[Event]) -> list[int]:
        """Store the events durably, all or none. Returns their sequence numbers; `catch_up` makes them count.

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
        return self._home.events.append(events)

    def move(self, home: Home) -> None:
        """Go on with the copy of the log in another folder."""
        with self._lock:
            self._home = home

    def catch_up(self) -> None:
        """Let everything count that the log holds and this generation doesn't know yet, in its order.

        What counts is read back from the log, so that threads, redeliveries and other processes that write
        to the same log all end in the same state.
        """
        with self._lock:
            if self._home.last_seq <= self._counted:
                return
            frame = self._home.events.read(after_seq=self._counted)
            if frame.is_empty():
                return
            _, weights = answered(
                self.feedback,
                lambda: self.feedback.weigh(frame),
                lambda: (np.ones(len(frame), np.float32),) * 2,  # an event of average weight
            )
            items = self.served.items.encode(frame["item_id"])
            for user, item, weight, timestamp in zip(frame["user_id"], items, weights, frame["timestamp"]):
                if item >= 0:  # an item that is new joins the catalogue at the next update
                    self.served.users.add(user, int(item), float(weight), timestamp)
            self._counted = frame["seq"][-1]

    def _check_type(self, place: int, event_type: str) -> None:
        if event_type in self._known_types:
            return
        close = get_close_matches(str(event_type), self._known_types, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UnknownIdError(
            f"event {place} of the batch: type {event_type!r} is not known; there are "
            f"{sorted(self._known_types)}.{hint}"
        )
