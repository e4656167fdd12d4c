"""Erasing a user: their bytes go, everybody else's events stay."""

from random import Random

import apsw
import polars as pl
import pytest

from metarec_sdk.errors import DataError, StorageError
from metarec_sdk.feedback import Event, SQLiteEventLog


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.sqlite"


@pytest.fixture
def log(path):
    with SQLiteEventLog(path) as opened:
        yield opened


SECRET = "Zaphod-Beeblebrox-42"


def fill(log):
    """Events of SECRET among others'; the texts that an erasure has to make disappear.

    Random event ids split the pages of the index, which leaves copies in unused space: with this seed,
    zeroing the deleted rows isn't enough.
    """
    random, users, event_ids = Random(1), [], []
    for number in range(800):
        users.append(SECRET if random.random() < 0.3 else f"u{number % 9}")
        event_ids.append(f"{random.random()}")
    for start in range(0, 800, 20):
        rows = zip(users[start : start + 20], event_ids[start : start + 20])
        log.append([Event(user, "i", event_id=event_id, timestamp=1) for user, event_id in rows])
    return [SECRET, *(event_id for user, event_id in zip(users, event_ids) if user == SECRET)]


def found(traces, folder):
    raw = b"".join(file.read_bytes() for file in folder.iterdir())
    return [trace for trace in traces if trace.encode() in raw]


def test_erasing_leaves_no_byte(log, path):
    traces = fill(log)
    kept = log.read().filter(pl.col("user_id") != SECRET)
    assert found(traces, path.parent) == traces  # the scan can find them
    assert log.erase_user(SECRET) == len(traces) - 1
    assert found(traces, path.parent) == []
    assert log.read().equals(kept)
    assert log.erase_user(SECRET) == 0
    log.verify()


def test_numbers_are_not_used_again_after_an_erasure(log):
    log.append([Event("u1", "i1"), Event("u2", "i2")])
    log.erase_user("u2")
    assert log.last_seq == 2
    assert log.append([Event("u3", "i3")]) == [3]


def test_an_interrupted_erasure_is_finished_at_the_next_open(path, monkeypatch):
    log = SQLiteEventLog(path)
    traces = fill(log)

    def killed(connection):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("metarec_sdk.feedback.sqlite_log.scrub", killed)
        with pytest.raises(KeyboardInterrupt):
            log.erase_user(SECRET)
    assert log.read(user=SECRET).height == 0
    log.close()
    assert found(traces, path.parent)  # else this test proves nothing
    SQLiteEventLog(path).close()
    assert found(traces, path.parent) == []


def test_erasing_waits_for_readers_and_can_be_repeated(path):
    with SQLiteEventLog(path, busy_seconds=0.05) as log:
        log.append([Event("u1", "i1"), Event("u2", "i2")])
        reader = apsw.Connection(str(path))
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM events").fetchall()
        with pytest.raises(StorageError, match=r"another process holds it.*call erase_user again"):
            log.erase_user("u1")
        reader.close()
        assert log.erase_user("u1") == 0
        assert b"u1" not in path.read_bytes()
        assert log.read()["user_id"].to_list() == ["u2"]


def test_erasing_checks_the_dtype(log):
    log.append([Event("1", "i")])
    with pytest.raises(DataError, match="user is 1, but this log has string user ids"):
        log.erase_user(1)
    with pytest.raises(DataError, match="user is empty"):
        log.erase_user("")
