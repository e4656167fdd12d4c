"""The same bits for every thread count and instruction set; forks and concurrent callers work."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from metarec_sdk import _core
from metarec_sdk.ranking import ItemIndex

# Large enough to go to the pool: by users, and by items.
SHAPES = [(2000, 32, 200), (40000, 32, 3)]
DIGEST = f"""
import hashlib, sys
import numpy as np
from metarec_sdk.ranking import ItemIndex
digest = hashlib.sha256()
for n, d, b in {SHAPES}:
    rng = np.random.default_rng(n)
    matrix = rng.standard_normal((n, d)).astype(np.float32)
    queries = rng.standard_normal((b, d)).astype(np.float32)
    exclude = (np.arange(b + 1) * 9, rng.integers(0, n, 9 * b))
    lists = ItemIndex(matrix).topk(queries, 30, exclude=exclude)
    for array in (lists.offsets, lists.items, lists.scores):
        digest.update(array.tobytes())
print(digest.hexdigest())
"""


def run(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_threads_and_instruction_sets_give_the_same_bytes() -> None:
    variants = [{"METAREC_NUM_THREADS": count} for count in ("1", "2", "8")]
    variants += [{"METAREC_ISA": isa, "METAREC_NUM_THREADS": "2"} for isa in _core.isas()]
    variants += [{"METAREC_TOPK_PATH": path} for path in ("fp32", "bf16", "int8", "int4")]
    digests = [run(DIGEST, **variant) for variant in variants]
    assert [digest.stderr for digest in digests] == [""] * len(variants)
    assert len({digest.stdout for digest in digests}) == 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("METAREC_ISA", "mmx"),
        ("METAREC_TOPK_PATH", "int2"),
        ("METAREC_NUM_THREADS", "0"),
        ("METAREC_NUM_THREADS", "x"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(variable: str, value: str) -> None:
    result = run(DIGEST, **{variable: value})
    assert result.returncode != 0
    assert "ArgumentError: " in result.stderr
    assert variable in result.stderr
    assert value in result.stderr


def test_the_variables_are_reported() -> None:
    script = "from metarec_sdk import _core; print(_core.isa(), _core.threads())"
    result = run(script, METAREC_ISA="scalar", METAREC_NUM_THREADS="3")
    assert result.stdout.split() == ["scalar", "3"]
    assert _core.isa() in _core.isas()


def test_concurrent_callers_get_their_own_answers() -> None:
    rng = np.random.default_rng(3)
    index = ItemIndex(rng.standard_normal((20000, 32)))
    batches = [rng.standard_normal((b, 32)).astype(np.float32) for b in (1, 5, 60, 200) * 4]
    expected = [index.topk(batch, 10) for batch in batches]
    with ThreadPoolExecutor(8) as executor:
        found = list(executor.map(lambda batch: index.topk(batch, 10), batches))
    for one, other in zip(found, expected):
        assert np.array_equal(one.items, other.items)
        assert np.array_equal(one.scores, other.scores)


FORK = """
import os, signal
import numpy as np
from metarec_sdk.ranking import ItemIndex
rng = np.random.default_rng(0)
index = ItemIndex(rng.standard_normal((2000, 32)))
queries = rng.standard_normal((200, 32)).astype(np.float32)
expected = index.topk(queries, 10)  # the parent's pool is up before the fork
def check():
    found = index.topk(queries, 10)
    assert np.array_equal(found.items, expected.items) and np.array_equal(found.scores, expected.scores)
child = os.fork()
if child == 0:
    signal.alarm(60)  # a hang ends as a failure
    check()
    grandchild = os.fork()
    if grandchild == 0:
        signal.alarm(60)
        check()
        os._exit(0)
    os._exit(os.waitpid(grandchild, 0)[1] and 1)
assert os.waitpid(child, 0)[1] == 0
check()
print("ok")
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_child_ranks_a_batch() -> None:
    result = run(FORK, METAREC_NUM_THREADS="2", PYTHONWARNINGS="ignore")
    assert (result.stdout, result.returncode) == ("ok\n", 0), result.stderr
