"""The embedded event log: acknowledged once, read back as it was, whatever opens it."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import apsw
import polars as pl
import pytest

from metarec_sdk.errors import ArgumentError, ArtefactError, ConflictError, DataError, StorageError
from metarec_sdk.feedback import Event, EventLog, SQLiteEventLog
from metarec_sdk.feedback import sqlite_connection as connections

# Python 3.12 warns of a fork with threads; the children here don't use what isn't safe after one.
FORK = "ignore:.*multi-threaded.*:DeprecationWarning"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.sqlite"


@pytest.fixture
def log(path):
    with SQLiteEventLog(path, clock=lambda: 1_700_000_000_000_000) as opened:
        yield opened


FULL = Event(
    "u1", "i1", "rating", 4.5, 12, "e1", "r1", 3, 0.25, "000001-abc", [{"item_id": "i1"}, {"item_id": "i2"}]
)


def test_events_come_back_in_canonical_columns(log):
    assert isinstance(log, EventLog)
    assert log.append([FULL, Event("u2", "i9", event_id="e2")]) == [1, 2]
    frame = log.read()
    assert frame.schema == {
        "user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64, "event_type": pl.String,
        "value": pl.Float64, "row": pl.Int64, "event_id": pl.String, "seq": pl.Int64,
        "request_id": pl.String, "position": pl.Int64, "propensity": pl.Float64,
        "generation": pl.String, "shown": pl.String,
    }  # fmt: skip
    shown = '[{"item_id":"i1"},{"item_id":"i2"}]'
    assert frame.row(0) == ("u1", "i1", 12, "rating", 4.5, 1, "e1", 1, "r1", 3, 0.25, "000001-abc", shown)
    later = ("u2", "i9", 1_700_000_000_000_000, "click", None, 2, "e2", 2, None, None, None, None, None)
    assert frame.row(1) == later


def test_integer_ids_stay_integers(log):
    log.append([Event(7, 2**63 - 1)])
    assert log.read().row(0)[:2] == (7, 2**63 - 1)
    assert log.read().schema["user_id"] == pl.Int64


def test_read_selects_a_range_and_a_user(log):
    log.append([Event(f"u{number % 3}", f"i{number}") for number in range(10)])
    assert log.read(after_seq=4)["seq"].to_list() == [5, 6, 7, 8, 9, 10]
    assert log.read(after_seq=4, upto=6)["seq"].to_list() == [5, 6]
    assert log.read(limit=3)["seq"].to_list() == [1, 2, 3]
    assert log.read(user="u1")["item_id"].to_list() == ["i1", "i4", "i7"]
    assert log.read(after_seq=10).height == log.read(user=7).height == 0


@pytest.mark.parametrize(
    "arguments", [{"after_seq": -1}, {"upto": -1}, {"upto": 2**63}, {"limit": 0}, {"limit": 10_000_001}]
)
def test_read_has_bounds(log, arguments):
    name, value = next(iter(arguments.items()))
    with pytest.raises(ArgumentError, match=f"{name} must be .*got {value}"):
        log.read(**arguments)


def test_a_redelivery_is_acknowledged_once(log, path):
    first = log.append([FULL, Event("u2", "i2", event_id="e2")])
    assert log.append([Event("u2", "i2", event_id="e2"), FULL]) == first[::-1]
    assert log.append([FULL, FULL]) == [1, 1]
    with SQLiteEventLog(path) as other:
        assert other.append([FULL]) == [1]
    assert log.read().height == 2
    # A redelivery uses no number up, so that it doesn't look like news.
    assert log.last_seq == 2
    assert log.append([Event("u2", "i2")]) == [3]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", "u2"), ("item_id", "i2"), ("event_type", "view"), ("value", None), ("value", 4.0),
        ("timestamp", 13), ("request_id", "r2"), ("position", None), ("propensity", 0.5),
        ("generation", None), ("shown", []),
    ],
)  # fmt: skip
def test_an_id_with_other_content_is_refused_by_name(log, field, value):
    log.append([FULL])
    changed = {name: getattr(FULL, name) for name in Event.__slots__} | {field: value}
    with pytest.raises(DataError, match=f"event 1 of the batch: event_id 'e1' .*seq 1.* {field} "):
        log.append([Event("u9", "i9"), Event(**changed)])
    assert log.read().height == 1


def test_a_redelivery_without_a_time_is_not_compared_by_time(path):
    times = iter([10, 20])
    with SQLiteEventLog(path, clock=lambda: next(times)) as log:
        event = Event("u", "i")
        assert log.append([event]) == log.append([event]) == [1]
        assert log.read()["timestamp"].to_list() == [10]


def test_one_log_has_one_dtype_of_ids(log, path):
    log.append([Event("u1", 5)])
    with pytest.raises(DataError, match="event 1 of the batch: user_id is 3, but this log has string ids"):
        log.append([Event("u2", 6), Event(3, 7)])
    with pytest.raises(DataError, match="item_id is 'i', but this log has integer ids"):
        log.append([Event("u2", "i")])
    with pytest.raises(DataError, match="user_ids='integer' was asked for, but this log has string ids"):
        SQLiteEventLog(path, user_ids="integer")
    assert log.read().height == 1


def test_a_mixed_first_batch_decides_nothing(log):
    with pytest.raises(DataError, match="event 1 of the batch: user_id"):
        log.append([Event("u1", 5), Event(3, 7)])
    assert log.append([Event(3, "i")]) == [1]


def test_the_dtype_can_be_fixed_before_the_first_event(path):
    with SQLiteEventLog(path, user_ids="integer", item_ids="string") as log:
        assert log.read().schema["user_id"] == pl.Int64
        with pytest.raises(DataError, match="user_id is 'u'"):
            log.append([Event("u", "i")])
    with SQLiteEventLog(path) as log, pytest.raises(DataError, match="user_id is 'u'"):
        log.append([Event("u", "i")])


def test_threads_append_every_event_once(log):
    count, numbers = 40, []

    def work(thread):
        for place in range(count):
            numbers.extend(log.append([Event(f"t{thread}", f"i{place}")]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 8 * count + 1))
    for thread in range(8):  # each thread's own order is kept
        assert log.read(user=f"t{thread}")["item_id"].to_list() == [f"i{place}" for place in range(count)]


def test_waiting_appends_share_a_commit_and_fail_alone(log):
    commits = []
    log._writer.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: commits.append(event["sql"] == "COMMIT"))
    outcomes = {}

    def work(number):
        try:
            outcomes[number] = log.append([Event("u", "i", event_id="same", value=float(number % 2))])
        except DataError as error:
            outcomes[number] = error

    with log._write_lock:  # hold the writer up, so that all of them queue
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        while len(log._queue) < 6:
            pass
    for thread in threads:
        thread.join()
    assert sum(commits) == 1
    stored = log.read()["value"][0]
    for number, outcome in outcomes.items():
        assert (outcome == [1]) if number % 2 == stored else isinstance(outcome, DataError)


@pytest.mark.filterwarnings(FORK)
def test_a_forked_child_appends_and_the_parent_goes_on(log):
    log.append([Event("parent", "i")])
    log.read()
    child = multiprocessing.get_context("fork").Process(target=_append_in_child, args=(log,))
    child.start()
    log.append([Event("parent", "j")])
    child.join()
    assert child.exitcode == 0
    assert log.read(user="child").height == 20
    assert log.read(user="parent").height == 2
    log.verify()


def _append_in_child(log):
    for number in range(20):
        log.append([Event("child", f"i{number}")])


@pytest.mark.filterwarnings(FORK)
def test_a_fork_holds_no_descriptor_of_the_log(log, path):
    log.append([Event("u", "i")])
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
        os.write(writer, b"open" if any(link.startswith(str(path)) for link in links) else b"none")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 4) == b"none"
    os.close(reader)
    os.close(writer)


APPEND = """
import sys
from metarec_sdk.feedback import Event, SQLiteEventLog
with SQLiteEventLog(sys.argv[1]) as log:
    for place in range(50):
        log.append([Event(sys.argv[2], f"i{place}")])
"""


def test_several_processes_share_a_log(log, path):
    command = [sys.executable, "-c", APPEND, str(path)]
    children = [subprocess.Popen([*command, f"process{number}"]) for number in range(2)]
    while log.last_seq == 0:  # until they are under way
        time.sleep(0.001)
    for number in range(50):
        log.append([Event("main", f"i{number}")])
    assert [child.wait() for child in children] == [0, 0]
    assert log.read()["seq"].to_list() == list(range(1, 151))


def test_the_log_survives_reopening(path):
    with SQLiteEventLog(path) as log:
        log.append([FULL])
        before = log.read()
    with SQLiteEventLog(path) as log:
        assert log.read().equals(before)
        assert log.last_seq == 1


def test_a_closed_log_says_so(path):
    log = SQLiteEventLog(path)
    log.close()
    log.close()
    for use in (lambda: log.append([FULL]), log.read, lambda: log.last_seq, lambda: log.erase_user("u1")):
        with pytest.raises(StorageError, match="is closed"):
            use()


def test_a_busy_log_is_a_storage_error(path):
    with SQLiteEventLog(path, busy_seconds=0.05) as log:
        log.append([FULL])
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"another process holds it.*none of the events was"):
            log.append([Event("u", "i")])
        other.close()
        assert log.append([Event("u", "i")]) == [2]


def test_an_old_sqlite_is_refused(path, monkeypatch):
    monkeypatch.setattr(connections.apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(StorageError, match=r"SQLite ≥ 3\.51\.3 .* carries 3\.51\.2; run: pip install"):
        SQLiteEventLog(path)
    assert not path.exists()


def test_durability_settings_are_on(log):
    writer = log._writer
    assert writer.pragma("journal_mode") == "wal"
    assert writer.pragma("synchronous") == 2
    assert writer.pragma("secure_delete") == 1


def test_what_is_no_log_is_refused_and_left_alone(tmp_path):
    text, other, newer = (tmp_path / name for name in ("text", "other", "newer"))
    text.write_text("no database" * 1000)
    connection = apsw.Connection(str(other))
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    SQLiteEventLog(newer).close()
    connection = apsw.Connection(str(newer))
    connection.pragma("user_version", 2)
    connection.close()
    for path, words in (
        (text, "no event log"),
        (other, "no metarec event log"),
        (newer, "upgrade metarec-sdk"),
    ):
        before = path.read_bytes()
        with pytest.raises(ArtefactError, match=words):
            SQLiteEventLog(path)
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER quiet AFTER INSERT ON events BEGIN DELETE FROM events; END",
        "CREATE VIEW more AS SELECT * FROM events",
        "DROP INDEX events_by_user",
        "ALTER TABLE events ADD COLUMN extra TEXT",
    ],
)
def test_an_altered_schema_is_refused(path, statement):
    SQLiteEventLog(path).close()
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()
    with pytest.raises(ArtefactError, match="its schema differs in"):
        SQLiteEventLog(path)


def test_bad_arguments_and_places(tmp_path):
    for place in (tmp_path / "missing" / "log", tmp_path):
        with pytest.raises(StorageError, match="can't be opened"):
            SQLiteEventLog(place)
    with pytest.raises(ArgumentError, match="busy_seconds"):
        SQLiteEventLog(tmp_path / "log", busy_seconds=-1)
    with pytest.raises(ArgumentError, match="user_ids"):
        SQLiteEventLog(tmp_path / "log", user_ids="text")


def test_a_copy_is_whole_and_can_be_brought_up_to_date(log, tmp_path):
    copy = tmp_path / "copy.sqlite"
    log.append([FULL])
    log.copy_to(copy)
    log.copy_to(log.path)  # onto itself: nothing happens
    with SQLiteEventLog(copy) as opened:
        assert opened.read().equals(log.read())
        log.append([Event("u2", "i2")])
        log.copy_to(copy)  # while it is open elsewhere
        assert opened.read().equals(log.read())
        opened.append([Event("u3", "only in the copy")])
        with pytest.raises(ConflictError, match="has events that this log hasn't, up to seq 3"):
            log.copy_to(copy)
        assert opened.last_seq == 3
    other = tmp_path / "other.sqlite"
    SQLiteEventLog(other).close()
    with pytest.raises(ConflictError, match="is another event log"):
        log.copy_to(other)
    with pytest.raises(StorageError, match="can't be written"):
        log.copy_to(tmp_path / "missing" / "copy.sqlite")
    assert not list(tmp_path.glob("*.tmp"))
