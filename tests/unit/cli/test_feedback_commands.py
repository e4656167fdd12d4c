"""``metarec observe`` and ``update``."""

from __future__ import annotations

import pytest


def test_one_event(metarec_json, serve):
    model = serve([10], [1])
    given = ("--user", "5", "--item", "77", "--event", "rating", "--value", "4.5", "--event-id", "e1")
    assert metarec_json("observe", "model", *given) == {"events": 1, "first_sequence": 7, "last_sequence": 7}
    assert model.calls == [("observe", 5, 77, "rating", {"value": 4.5, "timestamp": None, "event_id": "e1"})]


def test_a_file_of_events(metarec_json, serve, events):
    model = serve(["i1"], ["u1"])
    columns = ("--user-column", "who", "--item-column", "what", "--time-column", "ts")
    more = ("--event-column", "type", "--value-column", "stars")
    printed = metarec_json("observe", "model", "--file", events, *columns, *more)
    assert printed == {"events": 2, "first_sequence": 8, "last_sequence": 9}
    frame = model.calls[0][1]
    assert frame["user_id"].to_list() == ["u1", "u2"]
    assert frame["timestamp"].to_list() == [1_700_000_000_000_000, 1_700_000_060_000_000]
    assert frame["event_type"].to_list() == ["view", "rating"]
    assert frame["value"].to_list() == [None, 4.5]


def test_a_file_without_times_and_types_is_now_and_of_the_given_type(metarec, serve, tmp_path):
    path = tmp_path / "events.csv"
    path.write_text("user_id,item_id\n1,10\n2,20\n")
    model = serve(["10"], ["1"])  # text ids that look like integers
    result = metarec("observe", "model", "--file", path, "--no-time", "--event", "purchase")
    assert result.exit_code == 0, result.output
    frame = model.calls[0][1]
    assert "timestamp" not in frame.columns
    assert frame["event_type"].to_list() == ["purchase"] * 2
    assert frame["user_id"].to_list() == ["1", "2"]
    assert frame["item_id"].to_list() == ["10", "20"]


def test_a_missing_file(metarec, serve):
    serve(["i1"], ["u1"])
    result = metarec("observe", "model", "--file", "nowhere.csv")
    assert result.exit_code == 2
    assert "nowhere.csv" in result.stderr


@pytest.mark.parametrize(("options", "call"), [((), "update"), (("--refit",), "refit")])
def test_update(metarec_json, serve, options, call):
    model = serve(["i1"], ["u1"])
    assert "generation" in metarec_json("update", "model", *options)
    assert model.calls == [(call,)]
