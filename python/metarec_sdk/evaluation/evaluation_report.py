"""What `evaluate` gives back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from metarec_sdk.errors import DataError, UnknownIdError
from metarec_sdk.evaluation.fingerprint import SCHEMA

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Group

    from metarec_sdk.data import Interactions
    from metarec_sdk.evaluation.cases import Prepared
    from metarec_sdk.evaluation.leak_check import LeakCheck
    from metarec_sdk.evaluation.protocols import Protocol
    from metarec_sdk.evaluation.rows import Row


@dataclass(frozen=True, slots=True)
class ProtocolRecord:
    """A protocol as it was run."""

    name: str
    """``cold-start``, ``warm``, ``leave-one-out``, or that of a protocol of your own."""
    parameters: dict[str, Any]
    """Its parameters."""
    hash: str
    """SHA-256 of parameters, data and protocol schema."""
    schema: int
    """Version of what the parameters mean."""
    events: int
    """Events of the log."""
    train_events: int
    """Events trained on."""
    notes: tuple[str, ...]
    """What was decided on the way."""

    @classmethod
    def of(cls, protocol: Protocol, prepared: Prepared, log: Interactions) -> ProtocolRecord:
        """The record of a protocol that cut a log."""
        return cls(
            protocol.name,
            protocol.parameters,
            prepared.hash,
            SCHEMA,
            len(log),
            len(prepared.test.train),
            prepared.notes,
        )


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """Rows of methods and cases, the leak checks, and how all was measured."""

    rows: list[Row]
    """One for each method and case."""
    checks: list[LeakCheck]
    """The 'another user's support' ablation, one for each cold-start case."""
    protocols: list[ProtocolRecord]
    """The protocols run."""
    seeds: tuple[int, ...]
    """Seeds of the recommender's fits."""
    budget: int
    """Settings tried for each baseline."""
    skipped: dict[str, str]
    """Baselines that couldn't run, with the reason."""
    seconds: float
    """The whole evaluation."""

    def find(self, method: str, k: int | None, order: str = "time", protocol: str = "cold-start") -> Row:
        """The row of a method and case.

        Raises:
            UnknownIdError: there is none.
        """
        for row in self.rows:
            if (row.method, row.k, row.order, row.protocol) == (method, k, order, protocol):
                return row
        known = sorted({row.method for row in self.rows})
        raise UnknownIdError(
            f"there is no row of {method!r} for {protocol}, {order} order, k = {k}; methods: {known}"
        )

    @property
    def leaks(self) -> list[LeakCheck]:
        """The checks that failed."""
        return [check for check in self.checks if not check.passed]

    def raise_if_leaking(self) -> None:
        """Refuse a report whose ablation did better than it can by right.

        Raises:
            DataError: a leak check failed.
        """
        for check in self.leaks:
            raise DataError(
                f"{check.protocol}, {check.order} order, k = {check.k}: another user's support reaches "
                f"NDCG@10 {check.ndcg:.4f}, more than {check.reference_ndcg:.4f} of {check.reference!r}, "
                f"which knows as much; look for a way from the query into the ranking"
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; numbers that don't exist are None."""
        content = {
            "rows": [row.to_dict() for row in self.rows],
            "checks": [check.to_dict() for check in self.checks],
            "protocols": [asdict(protocol) for protocol in self.protocols],
            "seeds": list(self.seeds),
            "budget": self.budget,
            "skipped": dict(self.skipped),
            "seconds": self.seconds,
        }
        as_json: dict[str, Any] = plain(content)
        return as_json

    def to_frame(self) -> pl.DataFrame:
        """One line a row: means with ``_low`` and ``_high``, lifts, settings as text."""
        from metarec_sdk.evaluation.report_frame import frame_of

        return frame_of(self.rows)

    def table(self) -> Group:
        """NDCG@10 by method and support size, a table for each protocol and order; printable with rich."""
        from metarec_sdk.evaluation.report_table import tables_of

        return tables_of(self)

    def __rich__(self) -> Group:
        return self.table()


def plain(value: Any) -> Any:
    """Only what JSON has: no tuples, no NaN."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
