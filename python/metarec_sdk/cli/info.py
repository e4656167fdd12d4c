"""``metarec info``."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from metarec_sdk.cli.output import Json, fields, show, show_json

_PACKAGES = (
    "numpy",
    "polars",
    "pluggy",
    "pydantic",
    "safetensors",
    "scikit-learn",
    "apsw",
    "torch",
    "triton",
)


def info(json: Json = False) -> None:
    """Print versions, processor features, threads and devices, for example for a bug report."""
    facts = {"metarec_sdk": _version("metarec-sdk"), **_machine(), **_core(), **_torch()}
    packages = {name: _version(name) for name in _PACKAGES}
    if json:
        show_json({**facts, "packages": packages})
    else:
        show(fields("metarec_sdk", facts), fields("packages", packages))


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "plugins": os.environ.get("METAREC_PLUGINS") or "all that are installed",
    }


def _core() -> dict[str, Any]:
    try:
        from metarec_sdk import _core
    except ImportError as error:
        return {"core": f"can't be loaded: {error}"}
    return {"core": _core.__version__, "instruction set": _core.isa(), "threads": _core.threads()}


def _torch() -> dict[str, Any]:
    if importlib.util.find_spec("torch") is None:
        return {"devices": "cpu (torch isn't installed; pip install 'metarec-sdk[torch]')"}
    try:
        import torch
    except (ImportError, OSError) as error:  # a build for another CUDA fails on its libraries
        return {"devices": f"cpu (torch can't be loaded: {error})"}
    from metarec_sdk.kernels.availability import triton_status

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"devices": ", ".join(["cpu", *cuda]), "cuda": torch.version.cuda, "task kernels": triton_status()}
