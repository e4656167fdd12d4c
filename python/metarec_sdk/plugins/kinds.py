"""The kinds of component, each with the hook that registers it and the protocol it has to follow.

A kind is named like the argument of `metarec_sdk.Recommender` that selects it.
"""

from __future__ import annotations

from dataclasses import dataclass

from metarec_sdk.errors import ArgumentError
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


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of component."""

    name: str
    """The argument of ``Recommender`` that selects it."""
    label: str
    """The words for it in a sentence."""
    hook: str
    """The registration hook."""
    protocol: type
    """What an instance has to offer."""


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("backbone", "backbone", "metarec_register_backbones", Backbone),
        Kind("clusterer", "clusterer", "metarec_register_clusterers", Clusterer),
        Kind("meta_learner", "meta-learner", "metarec_register_meta_learners", MetaLearner),
        Kind("head", "head", "metarec_register_heads", Head),
        Kind("item_item", "item-item member", "metarec_register_item_item_members", ItemItemMember),
        Kind("feedback", "feedback model", "metarec_register_feedback_models", FeedbackModel),
        Kind("behaviour", "behaviour model", "metarec_register_behaviour_models", BehaviourModel),
        Kind("content", "content encoder", "metarec_register_content_encoders", ContentEncoder),
        Kind("reranker", "reranker", "metarec_register_rerankers", Reranker),
        Kind("rule", "rule", "metarec_register_rules", Rule),
    )
}


def kind_named(name: str) -> Kind:
    """The kind of that name.

    Raises `ArgumentError` that lists the kinds.
    """
    try:
        return KINDS[name]
    except KeyError:
        raise ArgumentError(
            f"kind={name!r} is not a kind of component; the kinds are {list(KINDS)}"
        ) from None


def members(protocol: type) -> list[str]:
    """Names that an instance of ``protocol`` must have, in the order of their definition."""
    names: dict[str, None] = {}
    for base in reversed(protocol.__mro__):
        if base.__module__ in ("builtins", "typing", "typing_extensions"):
            continue
        for name in (*vars(base).get("__annotations__", ()), *vars(base)):
            if not name.startswith("_"):
                names[name] = None
    return list(names)
