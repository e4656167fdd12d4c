"""What ``import metarec_sdk`` costs and offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import metarec_sdk

HEAVY = ("torch", "triton", "sklearn", "scipy", "pandas", "pyarrow", "matplotlib", "polars", "numpy")


def run(code: str) -> str:
    """Output of the code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def test_the_import_is_quick():
    code = "import time; t = time.perf_counter(); import metarec_sdk; print(time.perf_counter() - t)"
    assert min(float(run(code)) for _ in range(3)) < 0.3


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import metarec_sdk", HEAVY),
        ("import metarec_sdk; metarec_sdk.hookimpl", HEAVY[:-1]),
        ("import metarec_sdk; metarec_sdk.PluginManager(enabled=False)", HEAVY[:-1]),
        ("import metarec_sdk; metarec_sdk.read_interactions", HEAVY[:-2]),
        ("import metarec_sdk; metarec_sdk.Recommender", HEAVY[:-2]),
        ("import metarec_sdk; metarec_sdk.evaluate", HEAVY[:-2]),
    ],
)
def test_what_is_not_needed_is_not_imported(code, absent):
    loaded = run(f"import sys; {code}; print(*sys.modules)").split()
    assert not set(absent) & set(loaded)


@pytest.mark.parametrize("name", metarec_sdk.__all__)
def test_every_public_name_is_there(name):
    assert getattr(metarec_sdk, name) is not None
    assert name in dir(metarec_sdk)


def test_the_list_of_names_and_the_table_of_homes_agree():
    assert sorted(metarec_sdk.__all__) == sorted({*metarec_sdk._HOME_OF, "__version__"})


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'recommend'"):
        _ = metarec_sdk.recommend
