"""What an event may hold: a bad value is refused by name and place, and nothing of its batch is stored."""

import numpy as np
import pytest

from metarec_sdk.errors import ArgumentError, DataError
from metarec_sdk.feedback import Event, SQLiteEventLog
from metarec_sdk.feedback.event import MAX_BATCH, MAX_TIMESTAMP, check_events

GOOD = {"user_id": "u", "item_id": "i", "event_id": "e"}

BAD = [
    ("user_id", None, "wanted an integer or a string"),
    ("user_id", "", "is empty"),
    ("user_id", True, "wanted an integer or a string"),
    ("user_id", 1.0, "wanted an integer or a string"),
    ("user_id", np.float64(1), "wanted an integer or a string"),
    ("user_id", b"u", "wanted an integer or a string"),
    ("user_id", 2**63, "wanted -9223372036854775808 to 9223372036854775807"),
    ("user_id", 10**10000, "too large to print (int)"),
    ("user_id", "u\0", "NUL"),
    ("user_id", "\ud800", "lone surrogate"),
    ("user_id", "u" * 513, "has 513 characters, at most 512"),
    ("user_id", "u" * 10_000_000, "has 10,000,000 characters"),
    ("item_id", None, "wanted an integer or a string"),
    ("item_id", "", "is empty"),
    ("item_id", -(2**63) - 1, "wanted -9223372036854775808"),
    ("item_id", "\udfff", "lone surrogate"),
    ("event_id", None, "wanted a string"),
    ("event_id", 7, "wanted a string"),
    ("event_id", "", "is empty"),
    ("event_id", "e" * 513, "at most 512"),
    ("event_type", None, "wanted a string"),
    ("event_type", "", "is empty"),
    ("event_type", "t" * 129, "at most 128"),
    ("event_type", "a\0b", "NUL"),
    ("value", float("nan"), "wanted a finite number"),
    ("value", float("inf"), "wanted a finite number"),
    ("value", -float("inf"), "wanted a finite number"),
    ("value", "5", "wanted a number"),
    ("value", True, "wanted a number"),
    ("value", 10**400, "wanted a finite number"),
    ("value", 1j, "wanted a number"),
    ("timestamp", -1, f"wanted 0 to {MAX_TIMESTAMP}"),
    ("timestamp", 2**63, "wanted 0 to"),
    ("timestamp", MAX_TIMESTAMP + 1, "microseconds since 1970 UTC"),
    ("timestamp", 1.5, "wanted an integer"),
    ("timestamp", "2024-01-01", "wanted an integer"),
    ("timestamp", np.datetime64("2024-01-01"), "wanted an integer"),
    ("request_id", "", "is empty"),
    ("request_id", 3, "wanted a string"),
    ("position", -1, "wanted 0 to 2147483647"),
    ("position", 2**31, "wanted 0 to 2147483647"),
    ("position", 1.0, "wanted an integer"),
    ("position", False, "wanted an integer"),
    ("propensity", 0.0, "wanted a probability in"),
    ("propensity", -0.1, "wanted a probability in"),
    ("propensity", 1.0000001, "wanted a probability in"),
    ("propensity", float("nan"), "wanted a finite number"),
    ("generation", "", "is empty"),
    ("generation", "g" * 513, "at most 512"),
    ("shown", {"a": float("nan")}, "can't be stored as JSON"),
    ("shown", {1, 2}, "can't be stored as JSON"),
    ("shown", ["\ud800"], "can't be stored as JSON"),
    ("shown", "x" * 65_536, "takes 65,538 bytes as JSON, at most 65,536"),
]


@pytest.mark.parametrize(("field", "value", "words"), BAD, ids=range(len(BAD)))
def test_a_bad_field_is_named_with_its_place(field, value, words):
    batch = [Event(**GOOD), Event(**{**GOOD, field: value})]
    with pytest.raises(DataError, match=f"event 1 of the batch: {field} ") as caught:
        check_events(batch)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


def test_deep_nesting_is_refused():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DataError, match="shown can't be stored"):
        check_events([Event(**GOOD, shown=deep)])


def test_something_else_than_an_event_is_refused():
    with pytest.raises(
        DataError, match=r"event 0 of the batch: is a dict, wanted metarec_sdk\.feedback\.Event"
    ):
        check_events([{"user_id": 1}])


def test_a_batch_has_a_bound():
    with pytest.raises(ArgumentError, match="at most 1,000,000 events, got 1,000,001"):
        check_events([Event(**GOOD)] * (MAX_BATCH + 1))


@pytest.mark.parametrize(
    "fields",
    [
        {"user_id": np.int32(3), "item_id": np.int64(-(2**63))},
        {"user_id": np.str_("u"), "item_id": "ü \U0001f600" * 10},
        {"timestamp": 0},
        {"timestamp": np.int64(MAX_TIMESTAMP), "value": np.float32(0.5), "propensity": 1},
        {"position": np.uint8(3), "shown": [{"item": "i", "position": 0}, None, True, 1.5]},
    ],
)
def test_unusual_but_good_fields_come_back(fields, tmp_path):
    with SQLiteEventLog(tmp_path / "events.sqlite") as log:
        log.append([Event(**{**GOOD, **fields})])
        row = log.read().row(0, named=True)
    for name, value in fields.items():
        if name != "shown":
            assert row[name] == value
    if "shown" in fields:
        assert row["shown"] == '[{"item":"i","position":0},null,true,1.5]'


def test_nothing_of_a_refused_batch_is_stored(tmp_path):
    with SQLiteEventLog(tmp_path / "events.sqlite") as log:
        with pytest.raises(DataError, match="nothing of the batch was stored"):
            log.append([Event("u", "i"), Event("u", "")])
        assert log.last_seq == 0
        assert log.append([Event("u", "i")]) == [1]


def test_every_event_gets_an_id_of_its_own():
    assert Event("u", "i").event_id != Event("u", "i").event_id
