"""Choosing a baseline's settings on validation, case by case, with the same budget for every baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metarec_sdk.data import encode, first_visits
from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.baselines.baseline import Baseline, Contestant
from metarec_sdk.evaluation.cases import Case, Window
from metarec_sdk.evaluation.catalogue import Catalogue, Translation
from metarec_sdk.evaluation.judging import judge_ranker
from metarec_sdk.types import TrainingLog

TUNED_ON = "ndcg@10"
"""The metric that settings are chosen by."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A window as baselines see it: first visits with unit weights, and the catalogue."""

    log: TrainingLog
    translation: Translation
    catalogue: Catalogue
    cases: Sequence[Case]

    @classmethod
    def of(cls, window: Window, catalogue: Catalogue) -> Prepared:
        """Encode a window's training events."""
        log, _, items = encode(window.train)
        visits = TrainingLog(first_visits(log.histories), log.n_items)
        cases = [case for case in window.cases if len(case.episodes)]
        return cls(visits, Translation.between(catalogue, items), catalogue, cases)

    def fitted(self, contestant: Contestant, settings: Mapping[str, Any], seed: int) -> Baseline:
        """A baseline fitted to the window."""
        baseline = contestant.build(**settings)
        baseline.fit(self.log, np.random.default_rng(seed))
        return baseline


@dataclass(frozen=True, slots=True)
class Choice:
    """The settings that won on validation."""

    settings: Mapping[str, Any]
    ndcg: float | None
    """Mean NDCG@10 on validation; None where there was nothing to choose by."""


def tune(
    contestant: Contestant,
    validation: Prepared,
    budget: int,
    seed: int = 0,
    step: Callable[[], None] = lambda: None,
) -> dict[tuple[str, str, int], Choice]:
    """The best settings of each case by validation NDCG@10; the earlier one where two are level.

    Args:
        contestant: the baseline; its first ``budget`` settings are tried.
        validation: the window to fit and judge on.
        budget: settings tried, the same for every baseline; one with fewer settings tries all it has.
        seed: seed of the fits.
        step: called after each fit.

    Raises:
        ArgumentError: ``budget`` is below 1.
    """
    if budget < 1:
        raise ArgumentError(f"budget, the settings tried for each baseline, must be at least 1, got {budget}")
    choices: dict[tuple[str, str, int], Choice] = {}
    for settings in contestant.grid[:budget]:
        baseline = validation.fitted(contestant, settings, seed)
        for case in validation.cases:
            scores = judge_ranker(
                baseline,
                validation.translation,
                validation.catalogue,
                case.episodes.support,
                case.episodes.query,
            )
            ndcg = float(scores.metric(TUNED_ON).mean())
            known = choices.get(case.key)
            if known is None or known.ndcg is None or ndcg > known.ndcg:
                choices[case.key] = Choice(settings, ndcg)
        step()
    return choices
