"""A window as baselines see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from metarec_sdk.data import Interactions, Vocabulary, encode, first_visits
from metarec_sdk.evaluation.baselines import Baseline, Contestant
from metarec_sdk.evaluation.cases import Case
from metarec_sdk.evaluation.catalogue import Catalogue, Translation
from metarec_sdk.types import TrainingLog


@dataclass(frozen=True, slots=True)
class EncodedWindow:
    """First visits with unit weights, the catalogue, and the cases that have users."""

    log: TrainingLog
    """Histories over the catalogue."""
    catalogue: Catalogue
    """The items seen in training."""
    translation: Translation
    """Between the items of the whole log and those of `log`."""
    cases: Sequence[Case]
    """What to rank."""

    @classmethod
    def of(
        cls,
        train: Interactions,
        cases: Sequence[Case],
        items: Vocabulary,
        ranked: pl.Series | None = None,
    ) -> EncodedWindow:
        """Encode training events; ``items`` are those of the whole log, ``ranked`` the ids to rank."""
        log, _, known = encode(train)
        catalogue = Catalogue.of(train, items, ranked)
        visits = TrainingLog(first_visits(log.histories), log.n_items)
        kept = [case for case in cases if len(case.episodes)]
        return cls(visits, catalogue, Translation.between(catalogue, known), kept)

    def fitted(self, contestant: Contestant, settings: Mapping[str, Any], seed: int) -> Baseline:
        """A baseline fitted to the window."""
        baseline = contestant.build(**settings)
        baseline.fit(self.log, np.random.default_rng(seed))
        return baseline
