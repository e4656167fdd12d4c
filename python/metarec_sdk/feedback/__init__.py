"""Feedback: the durable log of what users did, and the models that turn events into training signal.

`Stability: provisional`.
"""

from metarec_sdk.feedback.event import Event
from metarec_sdk.feedback.event_features import EventFeatures
from metarec_sdk.feedback.event_frame import events_from_frame
from metarec_sdk.feedback.event_log import EventLog
from metarec_sdk.feedback.linear import LinearFeedback
from metarec_sdk.feedback.sqlite_log import SQLiteEventLog

__all__ = ["Event", "EventFeatures", "EventLog", "LinearFeedback", "SQLiteEventLog", "events_from_frame"]
