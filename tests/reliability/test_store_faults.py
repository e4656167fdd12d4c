"""Publish, rollback, prune and export with a fault, or a SIGKILL, at each call of the operating system."""

import os
import shutil
import signal

import pytest

from metarec_sdk.errors import StorageError
from metarec_sdk.updating import GenerationStore

# Python 3.12 warns of a fork with threads; the child here only calls NumPy, safetensors and the file system.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

FAULTS = ["disk full", "input/output error", "read-only", "short write"]
OPERATIONS = ["publish", "rollback", "prune", "export"]


def run(operation, store, publish):
    if operation == "publish":
        return publish(store, 3, store.current)
    if operation == "rollback":
        return store.rollback()
    if operation == "prune":
        return store.prune(1)
    return store.export(store.root.with_name("copy"), generations=2)


def check(operation, store, before, finished):
    """The old state or the new one, whole; the new one where the operation said so."""
    after = store.load()
    first, second = before
    if operation == "publish":
        wanted = 3 if finished else after.documents["decisions"]["number"]
        assert after.documents["decisions"]["number"] == wanted
        assert after.id == second or after.manifest.parent == second
    elif operation == "rollback":
        assert after.id == first if finished else after.id in before
    else:
        assert after.id == second
    for name in store.ids():  # whatever is visible is whole
        store.load(name)
    if operation == "export":
        copy = GenerationStore(store.root.with_name("copy"))
        assert copy.current == second if finished else copy.current in (None, second)
        for name in copy.ids():
            copy.load(name)


def fresh(root, name, store):
    """A copy of the store in a folder of its own."""
    folder = root / name
    folder.mkdir()
    shutil.copytree(store.root, folder / "model")
    return GenerationStore(folder / "model", lock_seconds=1.0)


@pytest.mark.parametrize("persistent", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_fault_at_each_call_leaves_old_or_new(
    operation, fault, persistent, store, publish, system_calls, folder
):
    before = store.ids()
    for at in range(1, 200):
        tried = fresh(folder, f"{at}", store)
        calls = system_calls(fault, at, persistent)
        finished = True
        with calls.installed():
            try:
                run(operation, tried, publish)
            except StorageError as error:
                finished, message = False, str(error)
        assert finished or str(tried.root.parent) in message  # the error names the place
        check(operation, tried, before, finished)
        if calls.count < at:
            assert finished
            assert at > 1
            return
        if not finished and tried.current == before[1]:
            run(operation, tried, publish)  # usable again, and nothing is in the way
            check(operation, tried, before, finished=True)
            assert not list(tried.root.glob("generations/.aside*"))
    pytest.fail("the operation never ran through")


@pytest.mark.parametrize("moment", ["kill before", "kill after"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_kill_at_each_call_leaves_old_or_new(operation, moment, store, publish, system_calls, folder):
    before = store.ids()
    for at in range(1, 200):
        tried = fresh(folder, f"{at}", store)
        child = os.fork()
        if child == 0:
            try:
                with system_calls(moment, at).installed():
                    run(operation, tried, publish)
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        finished = os.WIFEXITED(status)
        assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
        check(operation, tried, before, finished)
        if finished:
            assert at > 1
            return
        if tried.current == before[1]:
            run(operation, tried, publish)
            check(operation, tried, before, finished=True)
            assert not list(tried.root.glob("generations/.aside*"))
    pytest.fail("the operation never ran through")
