"""What every protocol has in common."""

from __future__ import annotations

from typing import Any
from typing import Protocol as TypingProtocol

from metarec_sdk.data import Interactions
from metarec_sdk.evaluation.cases import Prepared


class Protocol(TypingProtocol):
    """A protocol cuts a log into a test window and a validation window before it."""

    @property
    def name(self) -> str:
        """Name in reports and in `evaluate(protocol=...)`."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that the cut depends on, JSON-able."""

    def prepare(self, log: Interactions) -> Prepared:
        """Cut the log.

        Raises:
            ArgumentError: the parameters don't fit the log.
            DataError: the log is too small.
        """
