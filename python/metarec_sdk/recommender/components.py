"""Builds the components that a recipe names, each with its own reproducible randomness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast
from zlib import crc32

import numpy as np

from metarec_sdk.plugins import PluginManager
from metarec_sdk.recommender.recipe import Recipe
from metarec_sdk.types import Backbone, Clusterer, FeedbackModel, Head, MetaLearner
from metarec_sdk.updating import ComponentRecord


@dataclass(frozen=True)
class Components:
    """The recipe together with the plugins that it chooses from."""

    recipe: Recipe
    plugins: PluginManager

    def rng(self, purpose: str) -> np.random.Generator:
        """The generator for one purpose: independent of what else is drawn, and of the order."""
        return np.random.default_rng([self.recipe.seed, crc32(purpose.encode())])

    def check(self) -> None:
        """Refuse names, parameters and missing extras now rather than at the first fit."""
        for kind in ("backbone", "head", "meta_learner", "feedback"):
            self._create(kind, getattr(self.recipe, kind))
        self.clusterer(1)

    def records(self) -> dict[str, ComponentRecord]:
        """What a generation records of each component."""
        records = {}
        for kind in ("backbone", "head", "meta_learner", "feedback", "clusterer"):
            found = self.plugins.find(kind, getattr(self.recipe, kind))
            records[kind] = ComponentRecord(
                name=found.name,
                plugin=found.distribution or found.plugin,
                plugin_version=found.version or "",
                params=self.recipe.kind_params(kind),
            )
        return records

    def backbone(self) -> Backbone:
        """A new backbone."""
        return cast(Backbone, self._create("backbone", self.recipe.backbone))

    def head(self) -> Head:
        """A new head."""
        return cast(Head, self._create("head", self.recipe.head))

    def meta_learner(self) -> MetaLearner:
        """A new meta-learner."""
        return cast(MetaLearner, self._create("meta_learner", self.recipe.meta_learner))

    def feedback(self) -> FeedbackModel:
        """A new feedback model."""
        return cast(FeedbackModel, self._create("feedback", self.recipe.feedback))

    def clusterer(self, n_tasks: int) -> Clusterer:
        """A new clusterer asked for n_tasks, where it lets itself be asked."""
        kind, name = "clusterer", self.recipe.clusterer
        params = self.recipe.kind_params(kind)
        takes = self.plugins.parameters(kind, name)
        for key, value in (("n_tasks", n_tasks), ("min_size", self.recipe.min_task_size)):
            if key in takes:
                params.setdefault(key, value)
        return cast(Clusterer, self.plugins.create(kind, name, params))

    def task_candidates(self) -> list[int]:
        """The numbers of tasks to try besides one."""
        params = self.recipe.kind_params("clusterer")
        if "n_tasks" in params:
            return [int(params["n_tasks"])]
        if "n_tasks" not in self.plugins.parameters("clusterer", self.recipe.clusterer):
            return [0] if self.recipe.clusterer != "none" else []
        powers = [2**power for power in range(2, 13)]
        return [n for n in powers if n <= self.recipe.max_tasks]

    def _create(self, kind: str, name: str) -> object:
        return self.plugins.create(kind, name, self.recipe.kind_params(kind))
