import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest
import torch

from metarec_sdk.kernels import availability


@pytest.mark.parametrize(
    ("found", "cuda", "sentence"),
    [
        (None, False, "no CUDA device; triton isn't installed"),
        ("2.3.1", False, "triton 2.3.1 is too old, 3.2 or newer is needed"),
        ("3.9.0", False, "grouped matrix products on the CPU (no CUDA device)"),
        (None, True, "grouped matrix products on the CPU (triton isn't installed)"),
    ],
)
def test_what_is_missing_is_a_sentence(monkeypatch, found, cuda, sentence):
    def version(name):
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(availability, "version", version)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert sentence in availability.triton_status()


def test_operations_on_a_cpu_do_not_import_triton():
    code = (
        "import sys, torch; from metarec_sdk.kernels.plan import plan_tasks; "
        "from metarec_sdk.kernels.linear_adapter import linear_adapter; "
        "x = torch.ones(3, 2); plan = plan_tasks(torch.tensor([1, 0, -1]), 2); "
        "linear_adapter(x, None, torch.ones(2, 1, 2), torch.ones(2, 2, 1), plan); "
        "sys.exit('triton' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=100).returncode == 0
