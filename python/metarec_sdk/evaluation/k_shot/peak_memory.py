"""The most memory that this process held during a stretch of work."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def forget_peak() -> None:
    """Begin a stretch: on Linux the kernel's high-water mark is set to what is held now."""
    # Elsewhere, and where the kernel forbids it, the mark stays that of the whole process: an upper bound.
    if _CLEAR.exists():
        try:
            _CLEAR.write_text("5")
        except OSError:
            return


def peak_mib() -> float:
    """MiB resident at most since `forget_peak`."""
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
