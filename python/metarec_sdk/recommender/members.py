"""The trained members of a stack, and what they say about episodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metarec_sdk.adapters import TaskAdapters
from metarec_sdk.recommender.components import Components
from metarec_sdk.recommender.episode_scores import EpisodeScores
from metarec_sdk.recommender.item_item import UNDIRECTED, VARIANTS, ItemItem
from metarec_sdk.recommender.popularity import PopularityForms, band_of
from metarec_sdk.recommender.prepare import Prepared
from metarec_sdk.recommender.progress import Step
from metarec_sdk.types import Backbone, Bool, Episodes, Float32, Head, Histories, Int32, Int64, Memberships


@dataclass
class Members:
    """Everything trained on one log, before tasks come in."""

    backbone: Backbone
    head: Head
    item_item: dict[str, ItemItem]
    """By variant, see `metarec_sdk.recommender.item_item`."""
    popularity: PopularityForms

    @classmethod
    def fit(
        cls,
        components: Components,
        prepared: Prepared,
        step: Step,
        variants: list[str] | None = None,
        *,
        head_users: Bool | None = None,
    ) -> Members:
        """Train every member; ``variants`` of the item-item member default to all, ``head_users`` bool[u],
        whose events the head is fitted to, to everybody."""
        log = prepared.log
        backbone, head = components.backbone(), components.head()
        with step(f"backbone {components.recipe.backbone}") as progress:
            backbone.fit(log, components.rng("backbone"), progress)
        with step(f"head {components.recipe.head}") as progress:
            head.fit(log if head_users is None else log.take(head_users), components.rng("head"), progress)
        known = VARIANTS if components.item_item_is_asked() else UNDIRECTED
        chosen = [name for name in known if variants is None or name in variants] or list(known)[:1]
        neighbours = {
            directed: components.item_item(directed) for directed in {known[name][0] for name in chosen}
        }
        for table in neighbours.values():
            table.fit(log, components.rng("item-item"))
        item_item = {
            name: ItemItem(neighbours[directed], last, directed)
            for name, (directed, last) in known.items()
            if name in chosen
        }
        return cls(backbone, head, item_item, PopularityForms.fit(prepared.in_time, log.n_items))

    def boost_scores(self, variant: str, support: Histories) -> Float32:
        """f32[E, n], the item-item member's scores, 0 where it says nothing."""
        offsets, items, values = self.item_item[variant].boosts(support)
        scores = np.zeros((len(support), len(self.popularity.table)), np.float32)
        scores[np.repeat(np.arange(len(support)), np.diff(offsets)), items] = values
        return scores

    def popularity_scores(self, form: Int32, support: Histories) -> Float32:
        """f32[E, n], the popularity form of each episode's band."""
        chosen: Float32 = self.popularity.table.T[form[np.maximum(band_of(support.lengths), 0)]]
        return chosen

    def scores(
        self,
        episodes: Episodes,
        memberships: Memberships,
        people: Int64,
        *,
        adapters: TaskAdapters | None,
        variant: str,
        form: Int32,
    ) -> EpisodeScores:
        """All four members on the given episodes."""
        support = episodes.support
        h = (
            self.backbone.encode(support)
            if adapters is None
            else adapters.apply(self.backbone, support, memberships)
        )
        w = self.head.query(support, memberships)
        return EpisodeScores(
            [
                h @ self.backbone.item_matrix().T,
                w @ self.head.item_matrix().T,
                self.popularity_scores(form, support),
                self.boost_scores(variant, support),
            ],
            support,
            episodes.query,
            people,
        )
