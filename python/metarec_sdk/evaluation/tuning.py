"""Choosing a baseline's settings on validation, case by case, with the same budget for every baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from metarec_sdk.errors import ArgumentError
from metarec_sdk.evaluation.baselines import Contestant
from metarec_sdk.evaluation.encoded_window import EncodedWindow
from metarec_sdk.evaluation.judging import judge_ranker

TUNED_ON = "ndcg@10"
"""The metric that settings are chosen by."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The settings that won on validation."""

    settings: Mapping[str, Any]
    ndcg: float | None
    """Mean NDCG@10 on validation; None where there was nothing to choose by."""


def tune(
    contestant: Contestant,
    validation: EncodedWindow,
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
