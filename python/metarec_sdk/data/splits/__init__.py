"""Ways to part a log into training and test, each stable on ties, and the check that they don't leak."""

from __future__ import annotations

from metarec_sdk.data.splits.check import check_split
from metarec_sdk.data.splits.cold_start import ColdStartSplit, cold_start
from metarec_sdk.data.splits.global_time import global_time, time_at_quantile
from metarec_sdk.data.splits.held_out_users import held_out_users
from metarec_sdk.data.splits.leave_one_out import leave_one_out
from metarec_sdk.data.splits.report import Leak, SplitReport
from metarec_sdk.data.splits.split import Split
from metarec_sdk.data.splits.ties import BoundaryTies, boundary_ties, cut_ties

__all__ = [
    "BoundaryTies",
    "ColdStartSplit",
    "Leak",
    "Split",
    "SplitReport",
    "boundary_ties",
    "check_split",
    "cold_start",
    "cut_ties",
    "global_time",
    "held_out_users",
    "leave_one_out",
    "time_at_quantile",
]
