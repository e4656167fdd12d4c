"""The trained members of a stack, and what they say about episodes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from metarec_sdk.adapters import TaskAdapters
from metarec_sdk.data.episodes import first_visits
from metarec_sdk.heads.mixture import PopularityMixture
from metarec_sdk.protocols import ItemItemMember
from metarec_sdk.recommender.components import Components
from metarec_sdk.recommender.episode_scores import EpisodeScores
from metarec_sdk.recommender.item_item import ItemItem, Variant
from metarec_sdk.recommender.popularity import BANDS, PopularityForms, band_of
from metarec_sdk.recommender.prepare import Prepared
from metarec_sdk.recommender.progress import Step
from metarec_sdk.types import (
    Backbone,
    Bool,
    Episodes,
    Float32,
    Head,
    Histories,
    Int32,
    Int64,
    Memberships,
    TrainingLog,
)

_PEOPLE_A_GROUP = 25
_MOST_GROUPS = 32
"""Groups of the mixture: one a so many people, up to a bound, since each is a column of the item matrix."""


@dataclass
class Members:
    """Everything trained on one log, before tasks come in."""

    backbone: Backbone
    head: Head
    item_item: dict[str, tuple[ItemItemMember, Variant]]
    """By name of the variant, see `metarec_sdk.recommender.item_item`."""
    popularity: PopularityForms
    mixture: PopularityMixture

    @classmethod
    def fit(
        cls,
        components: Components,
        prepared: Prepared,
        step: Step,
        variants: Collection[str] | None = None,
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
        with step(f"item-item member {components.recipe.item_item}"):
            item_item = _fit_item_item(components, log, variants)
        visits = TrainingLog(first_visits(log.histories), log.n_items)
        groups = int(np.clip(len(visits) // _PEOPLE_A_GROUP, 1, _MOST_GROUPS))
        mixture = PopularityMixture.fit(visits, groups, components.rng("mixture"), segments=prepared.codes)
        return cls(backbone, head, item_item, PopularityForms.fit(prepared.in_time, log.n_items), mixture)

    def chosen_item_item(self, of_band: list[str]) -> ItemItem:
        """The item-item member with these variants, one a band; with the first one there is for none."""
        of_band = of_band or [next(iter(self.item_item))] * len(BANDS)
        names = sorted(set(of_band))
        members, variants = zip(*(self.item_item[name] for name in names))
        return ItemItem(
            list(members), list(variants), np.array([names.index(name) for name in of_band], np.int32)
        )

    def boost_scores(self, item_item: ItemItem, support: Histories) -> Float32:
        """f32[E, n], the item-item member's scores, 0 where it says nothing."""
        scores = np.zeros((len(support), len(self.popularity.table)), np.float32)
        for member, rows, heard in item_item.parts(support):
            offsets, items, values = member.boosts(heard)
            scores[np.repeat(rows, np.diff(offsets)), items] = values
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
        variants: list[str],
        form: Int32,
    ) -> EpisodeScores:
        """All members on the given episodes; ``variants`` of the item-item member and popularity ``form``
        i32[bands] by band."""
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
                self.boost_scores(self.chosen_item_item(variants), support),
                self.mixture.memberships(support, memberships.segments) @ self.mixture.lift.T
                + self.popularity.table[:, 0],
            ],
            support,
            episodes.query,
            people,
        )


def _fit_item_item(
    components: Components, log: TrainingLog, names: Collection[str] | None
) -> dict[str, tuple[ItemItemMember, Variant]]:
    """The named variants, all for None, the first for none; those with the same arguments share a member."""
    known = components.item_item_variants(log.n_items, content=log.item_features is not None)
    if names is not None:
        names = names or list(known)[:1]
        known = {name: variant for name, variant in known.items() if name in names}
    fitted: list[tuple[Variant, ItemItemMember]] = []
    found = {}
    for name, variant in known.items():
        member = next((member for other, member in fitted if other.params == variant.params), None)
        if member is None:
            member = components.item_item(variant.params)
            member.fit(log, components.rng("item-item"))
            fitted.append((variant, member))
        found[name] = member, variant
    return found
