"""Builds the components that a recipe names, each with its own reproducible randomness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from zlib import crc32

import numpy as np

from metarec_sdk.plugins import KINDS, PluginManager
from metarec_sdk.protocols import (
    Backbone,
    BehaviourModel,
    Clusterer,
    ContentEncoder,
    FeedbackModel,
    Head,
    ItemItemMember,
    MetaLearner,
    Reranker,
    Rule,
)
from metarec_sdk.recommender.item_item import MOST_REGRESSED, VARIANTS, Variant
from metarec_sdk.recommender.recipe import Recipe
from metarec_sdk.updating import ComponentRecord


@dataclass(frozen=True)
class Components:
    """The recipe together with the plugins that it chooses from."""

    recipe: Recipe
    plugins: PluginManager
    distributions: Mapping[str, str] = field(default_factory=dict)
    """By kind, where an artefact's components came from: what to install if one is missing."""

    def rng(self, purpose: str) -> np.random.Generator:
        """The generator for one purpose: independent of what else is drawn, and of the order."""
        return np.random.default_rng([self.recipe.seed, crc32(purpose.encode())])

    def check(self) -> None:
        """Refuse names, parameters and missing extras now rather than at the first fit."""
        for kind in self._chosen():
            if kind != "clusterer":
                self._create(kind)
        self.clusterer(1)

    def records(self) -> dict[str, ComponentRecord]:
        """What a generation records of each component."""
        records = {}
        for kind in self._chosen():
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
        return cast(Backbone, self._create("backbone"))

    def head(self) -> Head:
        """A new head."""
        return cast(Head, self._create("head"))

    def meta_learner(self) -> MetaLearner:
        """A new meta-learner."""
        return cast(MetaLearner, self._create("meta_learner"))

    def feedback(self) -> FeedbackModel:
        """A new feedback model."""
        return cast(FeedbackModel, self._create("feedback"))

    def item_item(self, params: Mapping[str, Any]) -> ItemItemMember:
        """A new item-item member, with these arguments besides those of the recipe."""
        return cast(
            ItemItemMember, self._create("item_item", self.recipe.kind_params("item_item") | dict(params))
        )

    def reads_content(self, n_items: int) -> bool:
        """Whether a backbone or a variant of the item-item member over n items reads the items' content."""
        variants = self.item_item_variants(n_items, content=True).values()
        fixed = self.recipe.kind_params("item_item").get("content", False)
        tried = any("content" in variant.params for variant in variants)
        return bool(fixed or tried or getattr(self.backbone(), "uses_content", False))

    def item_item_variants(self, n_items: int, *, content: bool) -> dict[str, Variant]:
        """The variants that compete for n items: those whose arguments the member takes and the recipe leaves
        open; where there are none, how far back it listens. ``content``: whether that of items is known."""
        takes = set(self.plugins.parameters("item_item", self.recipe.item_item))
        fixed = self.recipe.kind_params("item_item")
        open_to_choice = takes - set(fixed) - ({"directed"} if fixed.get("regression") else set())
        if n_items > MOST_REGRESSED:
            open_to_choice.discard("regression")
        if not content:
            open_to_choice.discard("content")
        asked = {
            name: variant
            for name, variant in VARIANTS.items()
            if variant.params and open_to_choice.issuperset(variant.params)
        }
        return asked or {name: variant for name, variant in VARIANTS.items() if not variant.params}

    def behaviour(self) -> BehaviourModel:
        """A new behaviour model."""
        return cast(BehaviourModel, self._create("behaviour"))

    def content(self) -> ContentEncoder:
        """A new content encoder."""
        return cast(ContentEncoder, self._create("content"))

    def reranker(self) -> Reranker | None:
        """A new reranker, if one is chosen."""
        return cast(Reranker, self._create("reranker")) if self.recipe.reranker else None

    def rule(self) -> Rule | None:
        """A new hard rule, if one is chosen."""
        return cast(Rule, self._create("rule")) if self.recipe.rule else None

    def clusterer(self, n_tasks: int) -> Clusterer:
        """A new clusterer asked for n_tasks, where it lets itself be asked."""
        kind, name = "clusterer", self.recipe.clusterer
        params = self.recipe.kind_params(kind)
        takes = self.plugins.parameters(kind, name)
        for key, value in (("n_tasks", n_tasks), ("min_size", self.recipe.min_task_size)):
            if key in takes:
                params.setdefault(key, value)
        return cast(Clusterer, self._create(kind, params))

    def task_candidates(self) -> list[int]:
        """The numbers of tasks to try besides one."""
        params = self.recipe.kind_params("clusterer")
        if "n_tasks" in params:
            return [int(params["n_tasks"])]
        if "n_tasks" not in self.plugins.parameters("clusterer", self.recipe.clusterer):
            return [0] if self.recipe.clusterer != "none" else []
        powers = [2**power for power in range(2, 13)]
        return [n for n in powers if n <= self.recipe.max_tasks]

    def _chosen(self) -> list[str]:
        return [kind for kind in KINDS if getattr(self.recipe, kind) is not None]

    def _create(self, kind: str, params: Mapping[str, Any] | None = None) -> object:
        return self.plugins.create(
            kind,
            getattr(self.recipe, kind),
            self.recipe.kind_params(kind) if params is None else params,
            distribution=self.distributions.get(kind),
        )
