"""How a log is cut into training events and cases to rank."""

from __future__ import annotations

from metarec_sdk.evaluation.protocols.cold_start import ColdStart
from metarec_sdk.evaluation.protocols.cross_domain import CrossDomain
from metarec_sdk.evaluation.protocols.leave_one_out import LeaveOneOut
from metarec_sdk.evaluation.protocols.protocol import Protocol
from metarec_sdk.evaluation.protocols.warm import Warm

__all__ = ["ColdStart", "CrossDomain", "LeaveOneOut", "Protocol", "Warm"]
