"""The two or three parts of a log."""

from __future__ import annotations

from dataclasses import dataclass

from metarec_sdk.data.interactions import Interactions
from metarec_sdk.data.splits.check import check_frames
from metarec_sdk.data.splits.report import SplitReport


@dataclass(frozen=True)
class Split:
    """Parts of a log; no event is in two of them, and rows keep their numbers."""

    train: Interactions
    test: Interactions
    validation: Interactions | None = None
    """Where the split makes one; it lies between training and test."""
    time: int | None = None
    """Microseconds since 1970 UTC: training is before it, test isn't. None where time doesn't part."""
    users_disjoint: bool = False
    """True where no user may be in both parts."""

    def check(self) -> SplitReport:
        """Leaks and ties between what may be trained on and what is tested on."""
        before = [self.train] if self.validation is None else [self.train, self.validation]
        report = check_frames(before, [self.test], users_disjoint=self.users_disjoint, time=self.time)
        if self.validation is None:
            return report
        inner = check_frames([self.train], [self.validation], users_disjoint=self.users_disjoint, time=None)
        return report.with_leaks_of(inner, "training and validation")
