"""A served generation as arrays, frames and documents, and back."""

from __future__ import annotations

from typing import Any

import polars as pl

from metarec_sdk.adapters import TaskAdapters
from metarec_sdk.data import Vocabulary
from metarec_sdk.heads.mixture import PopularityMixture
from metarec_sdk.protocols import ItemItemMember
from metarec_sdk.recommender.cold_start import ColdStart
from metarec_sdk.recommender.components import Components
from metarec_sdk.recommender.gates import Gates
from metarec_sdk.recommender.item_item import ItemItem, Variant
from metarec_sdk.recommender.new_items import catalogue
from metarec_sdk.recommender.popularity import PopularityForms
from metarec_sdk.recommender.serving import Served
from metarec_sdk.recommender.shaping import Shaping
from metarec_sdk.recommender.stack import Stack
from metarec_sdk.recommender.task_model import TaskModel
from metarec_sdk.recommender.users import Users
from metarec_sdk.tasks import OneTask
from metarec_sdk.types import Clusterer, FeedbackModel, Histories, Int32, State
from metarec_sdk.updating import LoadedGeneration


def arrays_of(
    stack: Stack, histories: Histories, features: Any, codes: Int32 | None, feedback: FeedbackModel
) -> dict[str, State]:
    """Everything numeric, one file a component."""
    users: State = {
        "items": histories.items,
        "offsets": histories.offsets,
        "weights": histories.weights,
        "timestamps": histories.timestamps,
        "features": features,
    }
    if codes is not None:
        users["codes"] = codes
    return {
        "backbone": stack.backbone.state(),
        "head": stack.head.state(),
        "item_item": _item_item_arrays(stack.item_item),
        "mixture": {
            "lift": stack.mixture.lift,
            "log_weight": stack.mixture.log_weight,
            "log_segment": stack.mixture.log_segment,
        },
        "adapters": stack.adapters.state() if stack.adapters is not None else {},
        "clusterer": stack.tasks.clusterer.state() if stack.tasks.n_tasks > 1 else {},
        "feedback": feedback.state(),
        "gates": stack.gates.state(),
        "ranking": {
            "popularity": stack.popularity.table,
            "form": stack.form,
            "segment_bias": stack.cold.segment_bias,
            "new_items": stack.new_items,
        },
        "users": users,
    }


def document_of(stack: Stack, categories: list[str]) -> dict[str, Any]:
    """Everything of a stack that isn't numeric."""
    return {
        "item_item": [
            {"params": dict(variant.params), "last": variant.last} for variant in stack.item_item.variants
        ],
        "popularity_forms": stack.popularity.names,
        "cold_choice": stack.cold.choice,
        "tasks": {
            "n_tasks": stack.tasks.n_tasks,
            "requested": stack.tasks.requested,
            "n_features": stack.tasks.n_features,
            "categories": categories,
        },
        "history_limit": stack.history_limit,
    }


def shaping_of(
    components: Components, stack: Stack, items: Vocabulary, item_table: pl.DataFrame | None
) -> Shaping:
    """The chosen reranker and rule, acquainted with the catalogue."""
    shaping = Shaping(components.reranker(), components.rule())
    if shaping == Shaping():
        return shaping
    return shaping.fit(catalogue(items, item_table), stack.vectors())


def served_from(loaded: LoadedGeneration, components: Components) -> tuple[Served, FeedbackModel]:
    """Build the components that the generation names and restore them.

    Raises `ArtefactError` or `PluginError`.
    """
    arrays, document = loaded.arrays, loaded.documents["stack"]
    backbone, head, feedback = components.backbone(), components.head(), components.feedback()
    backbone.restore(arrays["backbone"])
    head.restore(arrays["head"])
    feedback.restore(arrays["feedback"])
    tasks = document["tasks"]
    clusterer: Clusterer = OneTask()
    if tasks["n_tasks"] > 1:
        clusterer = components.clusterer(tasks["requested"])
        clusterer.restore(arrays["clusterer"])
    ranking, users = arrays["ranking"], arrays["users"]
    popularity = PopularityForms(list(document["popularity_forms"]), ranking["popularity"])
    stack = Stack(
        backbone=backbone,
        head=head,
        item_item=_item_item_from(arrays["item_item"], document["item_item"], components),
        mixture=PopularityMixture(
            arrays["mixture"]["lift"],
            arrays["mixture"]["log_weight"],
            log_segment=arrays["mixture"]["log_segment"],
        ),
        adapters=TaskAdapters.from_state(arrays["adapters"]) if arrays["adapters"] else None,
        tasks=TaskModel(
            clusterer, tasks["n_tasks"], head.item_matrix(), tasks["n_features"], tasks["requested"]
        ),
        gates=Gates.from_state(arrays["gates"]),
        popularity=popularity,
        form=ranking["form"],
        cold=ColdStart.of(document["cold_choice"], popularity, ranking["segment_bias"]),
        history_limit=document["history_limit"],
        new_items=ranking["new_items"],
    )
    items = Vocabulary.from_frame(loaded.frames["items"])
    served = Served(
        stack,
        shaping_of(components, stack, items, loaded.frames.get("item_table")),
        items,
        Users(
            Vocabulary.from_frame(loaded.frames["users"]),
            Histories(users["items"], users["offsets"], users["weights"], users["timestamps"]),
            users["features"],
            users.get("codes"),
        ),
        list(tasks["categories"]),
        list(loaded.manifest.training["event_types"]),
        loaded.manifest.id,
        loaded.manifest.trained_through_seq,
    )
    return served, feedback


def _item_item_arrays(item_item: ItemItem) -> State:
    """The state of every distinct member under the number of its first variant, and the variant by band."""
    found: State = {"of_band": item_item.of_band}
    for place, member in enumerate(item_item.members):
        if not any(member is earlier for earlier in item_item.members[:place]):
            found |= {f"{place}.{name}": array for name, array in member.state().items()}
    return found


def _item_item_from(state: State, variants: list[dict[str, Any]], components: Components) -> ItemItem:
    members: list[ItemItemMember] = []
    for place, variant in enumerate(variants):
        own = {
            name.removeprefix(f"{place}."): array
            for name, array in state.items()
            if name.startswith(f"{place}.")
        }
        if own:
            member = components.item_item(variant["params"])
            member.restore(own)
        else:
            member = next(
                members[other]
                for other, earlier in enumerate(variants[:place])
                if earlier["params"] == variant["params"]
            )
        members.append(member)
    return ItemItem(members, [Variant(**variant) for variant in variants], state["of_band"])
