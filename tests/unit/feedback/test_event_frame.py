"""Frames of events into the log and out again."""

import datetime

import polars as pl
import pytest

from metarec_sdk.errors import ColumnError, DataError
from metarec_sdk.feedback import SQLiteEventLog, events_from_frame


def test_a_frame_goes_in_and_comes_out_as_it_was(tmp_path):
    frame = pl.DataFrame(
        {
            "user_id": [1, 2],
            "item_id": ["a", "b"],
            "timestamp": [10, 20],
            "event_type": ["view", "rating"],
            "value": [None, 3.5],
            "event_id": ["e1", "e2"],
            "request_id": ["r", None],
            "position": [0, None],
            "propensity": [0.5, None],
            "generation": [None, "g"],
            "shown": ['[1,"x"]', None],
        }
    )
    with SQLiteEventLog(tmp_path / "a") as log, SQLiteEventLog(tmp_path / "b") as other:
        log.append(events_from_frame(frame.with_columns(extra=pl.lit("ignored"))))
        assert log.read().select(frame.columns).equals(frame)
        other.append(events_from_frame(log.read()))
        assert other.read().equals(log.read())


def test_missing_columns_take_their_defaults():
    events = events_from_frame(pl.DataFrame({"user_id": [1, 1], "item_id": [2, 2]}), default_event="view")
    assert [event.event_type for event in events] == ["view", "view"]
    assert events[0].event_id != events[1].event_id
    assert events[0].timestamp is None


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_datetimes_become_microseconds(unit):
    moment = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)
    column = pl.Series([moment]).dt.cast_time_unit(unit)
    events = events_from_frame(pl.DataFrame({"user_id": [1], "item_id": [2], "timestamp": column}))
    assert events[0].timestamp == int(moment.timestamp() * 1e6)


def test_errors_name_column_and_row():
    with pytest.raises(ColumnError, match="Did you mean item='items_id'"):
        events_from_frame(pl.DataFrame({"user_id": [1], "items_id": [2]}))
    with pytest.raises(DataError, match="row 1: shown isn't JSON"):
        events_from_frame(pl.DataFrame({"user_id": [1, 1], "item_id": [2, 2], "shown": ["[]", "{"]}))
