"""The scorer can be used with NumPy and nothing else installed."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys

class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {"numpy", "metarec_sdk"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Only())
import numpy as np
from metarec_sdk.ranking import ItemIndex

index = ItemIndex(np.eye(4, dtype=np.float32)).append(np.ones((1, 4)))
print(index.topk(np.eye(4)[:1], 2, deny=[0]).items.tolist())
"""


def test_ranking_needs_numpy_alone() -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.stdout, result.stderr) == ("[4, 1]\n", "")
