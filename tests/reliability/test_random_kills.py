"""A process that appends, erases, publishes, rolls back and prunes, killed at random moments."""

import json
import os
import random
import signal
import time

import pytest

from metarec_sdk.errors import ArgumentError, UnknownIdError
from metarec_sdk.feedback import Event, SQLiteEventLog
from metarec_sdk.updating import GenerationStore

# The child uses what is safe after a fork: NumPy, SQLite, safetensors and the file system.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

OPERATIONS = ["append"] * 6 + ["publish"] * 3 + ["rollback", "erase", "prune"]


def child(folder, pipe, seed, publish):
    """Work until killed; say before each operation what it is, and after it what came of it."""

    def say(**fields):
        os.write(pipe, json.dumps(fields).encode() + b"\n")

    generator = random.Random(seed)
    log, store = SQLiteEventLog(folder / "events.sqlite"), GenerationStore(folder)
    for number in range(10**9):
        operation = generator.choice(OPERATIONS)
        if operation == "append":
            user = f"user-{generator.randrange(10)}"
            events = [(f"{seed}-{number}-{place}", user) for place in range(generator.randrange(1, 6))]
            say(begin=operation, events=events)
            result = log.append([Event(user, "i", event_id=name) for name, user in events])
        elif operation == "erase":
            user = f"user-{generator.randrange(10)}"
            say(begin=operation, user=user)
            result = log.erase_user(user)
        elif operation == "publish":
            say(begin=operation)
            result = publish(store, log.last_seq, store.current).id
        elif operation == "rollback":
            say(begin=operation)
            try:
                result = store.rollback()
            except (ArgumentError, UnknownIdError):  # nothing (left) to go back to
                result = store.current
        else:
            say(begin=operation)
            result = store.prune(3)
        say(done=operation, result=result)


class Expected:
    """What must be there, told by what the killed processes said."""

    def __init__(self):
        self.events, self.seqs, self.current, self.operations = {}, {}, None, 0

    def replay(self, lines):
        """The operation that was under way, if any."""
        begun = None
        for line in lines:
            if "begin" in line:
                begun = line
                continue
            self.operations += 1
            if line["done"] == "append":
                self.events |= dict(begun["events"])
                self.seqs |= dict(zip((name for name, _ in begun["events"]), line["result"]))
            elif line["done"] == "erase":
                self.forget(begun["user"])
            elif line["done"] in ("publish", "rollback"):
                self.current = line["result"]
            begun = None
        return begun

    def forget(self, user):
        self.events = {name: owner for name, owner in self.events.items() if owner != user}

    def check(self, folder, begun):
        started = time.perf_counter()
        with SQLiteEventLog(folder / "events.sqlite") as log:
            frame = log.read()
            assert time.perf_counter() - started < 2
            log.verify()
            found = dict(zip(frame["event_id"], frame["user_id"]))
            assert len(found) == len(frame)
            if begun and begun["begin"] == "append" and found != self.events:
                self.events |= dict(begun["events"])  # it happened, though unacknowledged
            elif begun and begun["begin"] == "erase" and found != self.events:
                self.forget(begun["user"])
            assert found == self.events
            for name, seq in zip(frame["event_id"], frame["seq"]):
                assert self.seqs.setdefault(name, seq) == seq
        gone = {f"user-{number}" for number in range(10)} - set(found.values())
        raw = b"".join(file.read_bytes() for file in folder.glob("events.sqlite*"))
        assert not [user for user in gone if user.encode() in raw]
        self.check_store(GenerationStore(folder), begun)

    def check_store(self, store, begun):
        if store.current is None:
            assert self.current is None
            return
        loaded = store.load()
        assert (loaded.arrays["head"]["psi"] == loaded.documents["decisions"]["number"]).all()
        if begun and begun["begin"] == "publish" and loaded.id != self.current:
            assert loaded.manifest.parent == self.current
        elif begun and begun["begin"] == "rollback" and loaded.id != self.current:
            assert loaded.id == store.manifest(self.current).parent
        else:
            assert loaded.id == self.current
        self.current = loaded.id
        for name in store.ids():
            store.load(name)


def kill_and_check(folder, cycles, seed, publish):
    generator, expected = random.Random(seed), Expected()
    for cycle in range(cycles):
        reader, writer = os.pipe()
        process = os.fork()
        if process == 0:
            try:
                os.close(reader)
                child(folder, writer, f"{seed}-{cycle}", publish)
            finally:
                os._exit(1)
        os.close(writer)
        time.sleep(generator.uniform(0.0, 0.12))
        os.kill(process, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
        with os.fdopen(reader, "rb") as said:
            lines = [json.loads(line) for line in said.read().splitlines()]
        expected.check(folder, expected.replay(lines))
    return expected


def test_random_kills_lose_nothing(folder, publish):
    expected = kill_and_check(folder, 40, 1, publish)
    assert expected.operations > 40
    assert expected.events
    assert expected.current


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_random_kills_lose_nothing(folder, publish):
    assert kill_and_check(folder, 1000, 2, publish).operations > 1000
