"""The ablation that must fail: ranking people from somebody else's support."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from metarec_sdk.evaluation.bootstrap import Resampled
from metarec_sdk.evaluation.rows import column
from metarec_sdk.evaluation.scores import NO_SUPPORT, OTHER_SUPPORT
from metarec_sdk.types import Int64


@dataclass(frozen=True, slots=True)
class LeakCheck:
    """Whether another user's support ranks better than it may.

    It tells nothing about the user but how many events there are. So its NDCG@10 must not exceed the best of
    what knows as much: the stack without a support, for the same query, and the popularity forms. It may
    exceed one of them: where people come in an order, what somebody else took just before tells what is taken
    after k events.
    """

    protocol: str
    order: str
    k: int
    ndcg: float
    """With another user's support."""
    reference: str
    """The best method that doesn't look at the support."""
    reference_ndcg: float
    """Its NDCG@10."""
    excess_low: float
    """Lower end of the paired 95 % interval of the difference."""
    excess_high: float
    """Upper end."""

    @property
    def passed(self) -> bool:
        """False where the excess is beyond chance: something of the query got into the ranking."""
        return not self.excess_low > 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"passed": self.passed}


def somebody_else(b: int, rng: np.random.Generator) -> Int64:
    """i64[b], for each user another one, everybody once; b ≥ 2."""
    circle = rng.permutation(b)
    other = np.empty(b, np.int64)
    other[circle] = np.roll(circle, 1)
    return other


def leak_check(
    key: tuple[str, str, int], resampled: Resampled, names: list[str], unpersonal: set[str]
) -> LeakCheck | None:
    """The check of one case; None where it wasn't run.

    Args:
        key: (protocol, order, k).
        resampled: as `rows_of` gave.
        names: the methods of the resamples.
        unpersonal: baselines that rank alike for everybody.
    """
    if OTHER_SUPPORT not in names:
        return None
    references = [place for place, name in enumerate(names) if name == NO_SUPPORT or name in unpersonal]
    best = max(references, key=lambda place: resampled.means[column(place)])
    shuffled = names.index(OTHER_SUPPORT)
    excess = resampled.difference(column(shuffled), column(best))
    return LeakCheck(
        *key,
        float(resampled.means[column(shuffled)]),
        names[best],
        float(resampled.means[column(best)]),
        excess.low,
        excess.high,
    )
