import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def run_script():
    """Output of a script of this folder in an interpreter of its own, which may set up Triton as it likes."""

    def run(name: str, *arguments: str, timeout: int = 280) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(HERE / name), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run
