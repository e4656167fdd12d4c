"""The baselines that every report is held against, one file each.

All learn from first visits with unit weights, and are tuned per case on validation with the same number of
settings.
"""

from __future__ import annotations

from collections.abc import Sequence

from metarec_sdk.errors import UnknownIdError
from metarec_sdk.evaluation.baselines.baseline import Baseline, Contestant, Situation
from metarec_sdk.evaluation.baselines.cluster_popularity import CLUSTER_POPULARITY
from metarec_sdk.evaluation.baselines.ease import EASE
from metarec_sdk.evaluation.baselines.episode_popularity import EPISODE_POPULARITY
from metarec_sdk.evaluation.baselines.first_events import FIRST_EVENTS
from metarec_sdk.evaluation.baselines.ials import IALS
from metarec_sdk.evaluation.baselines.item_knn import DIRECTED_ITEM_KNN, ITEM_KNN
from metarec_sdk.evaluation.baselines.natpar import NATPAR
from metarec_sdk.evaluation.baselines.popularity import POPULARITY
from metarec_sdk.evaluation.baselines.recent_popularity import RECENT_POPULARITY

CONTESTANTS: tuple[Contestant, ...] = (
    POPULARITY,
    RECENT_POPULARITY,
    FIRST_EVENTS,
    EPISODE_POPULARITY,
    CLUSTER_POPULARITY,
    ITEM_KNN,
    DIRECTED_ITEM_KNN,
    EASE,
    IALS,
    NATPAR,
)
"""Every built-in baseline. The backbone without personalisation is the recommender's own member."""


def contestants(wanted: str | Sequence[str | Contestant]) -> tuple[Contestant, ...]:
    """The baselines meant by ``"all"``, by a sequence of names, or given as `Contestant`.

    Raises:
        UnknownIdError: there is no baseline of that name.
    """
    if wanted == "all":
        return CONTESTANTS
    by_name = {contestant.name: contestant for contestant in CONTESTANTS}
    names = [wanted] if isinstance(wanted, str) else wanted
    chosen = []
    for name in names:
        if isinstance(name, Contestant):
            chosen.append(name)
        elif name in by_name:
            chosen.append(by_name[name])
        else:
            raise UnknownIdError(f"there is no baseline {name!r}; there are {sorted(by_name)}, or 'all'")
    return tuple(chosen)


__all__ = ["CONTESTANTS", "Baseline", "Contestant", "Situation", "contestants"]
