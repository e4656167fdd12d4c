"""What stands under the facade: one published generation being served, and the swap to the next."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl

from metarec_sdk.data import Interactions
from metarec_sdk.errors import NotFittedError
from metarec_sdk.plugins import PluginManager, RankRequest
from metarec_sdk.recommender.clocks import fit_generation, load_generation
from metarec_sdk.recommender.components import Components
from metarec_sdk.recommender.home import Home
from metarec_sdk.recommender.observing import Observing
from metarec_sdk.recommender.progress import steps
from metarec_sdk.recommender.recipe import Recipe
from metarec_sdk.recommender.reports import FitReport
from metarec_sdk.recommender.serving import Served
from metarec_sdk.types import FeedbackModel, Histories, Memberships, TopK


class Engine:
    """State of a `Recommender`; everything that changes is swapped in as a whole."""

    def __init__(
        self, recipe: Recipe, plugins: PluginManager, home: str | Path | None, progress: bool | None
    ) -> None:
        self._components = Components(recipe, plugins)
        self._progress = progress
        self._home_path = home
        self._home: Home | None = None
        self._served: Served | None = None
        self._feedback: FeedbackModel | None = None
        self._observing: Observing | None = None

    @property
    def _now(self) -> Served:
        if self._served is None:
            raise NotFittedError("nothing is fitted yet; call fit(log) or metarec_sdk.load(path) first")
        return self._served

    @property
    def _feedback_model(self) -> FeedbackModel:
        assert self._feedback is not None
        return self._feedback

    @property
    def _observer(self) -> Observing:
        self._now  # noqa: B018 - nothing can be observed before a fit
        assert self._observing is not None
        return self._observing

    @property
    def _folder(self) -> Home:
        if self._home is None:
            self._home = Home(self._home_path)
        return self._home

    def _fit(
        self, log: Interactions, items: pl.DataFrame | None, users: pl.DataFrame | None, through: int
    ) -> FitReport:
        with steps(self._progress) as step:
            served, feedback, report = fit_generation(
                self._components, self._folder, log, items, users, through, step
            )
        self._serve(served, feedback)
        self._components.plugins.fit_finished(report)
        return report

    def _load(self, generation: str | None) -> None:
        self._serve(*load_generation(self._components, self._folder, generation))

    def _serve(self, served: Served, feedback: FeedbackModel) -> None:
        """Replay what was logged after the generation was trained, then swap it in whole."""
        observing = Observing(self._folder, served, feedback)
        observing.replay()
        self._served, self._feedback, self._observing = served, feedback, observing

    def _ranked(
        self, served: Served, histories: Histories, k: int, memberships: Memberships | None, **filters: Any
    ) -> TopK:
        started = time.perf_counter_ns()
        result = served.stack.rank(histories, k, memberships, **filters)
        if self._components.plugins.observes_batches:
            elapsed = time.perf_counter_ns() - started
            request = RankRequest(histories, k, served.generation)
            self._components.plugins.batch_ranked(request, result, elapsed)
        return result
