"""Whether the Triton kernels can run here, in one sentence."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version

LEAST_TRITON = (3, 2)


def triton_status() -> str:
    """What runs the per-task operations here and, where it isn't the Triton kernels, why.

    Imports torch where it is installed; never raises for what is missing.
    """
    grouped = "grouped matrix products on the CPU"
    if importlib.util.find_spec("torch") is None:
        return "none (torch isn't installed; pip install 'metarec-sdk[torch]')"
    reason = triton_problem()
    try:
        import torch
    except (ImportError, OSError) as error:  # a build for another CUDA fails on its libraries
        return f"none (torch can't be loaded: {error})"
    if not torch.cuda.is_available():
        return f"{grouped} (no CUDA device{'; ' + reason if reason else ''})"
    if reason:
        return f"{grouped} ({reason})"
    return f"triton {version('triton')} on {torch.cuda.get_device_name()}"


def triton_problem() -> str:
    """Why triton can't be used, empty where it can; looks at versions only, imports nothing."""
    try:
        found = version("triton")
    except PackageNotFoundError:
        return "triton isn't installed"
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if numbers < LEAST_TRITON:
        return f"triton {found} is too old, {LEAST_TRITON[0]}.{LEAST_TRITON[1]} or newer is needed"
    return ""
