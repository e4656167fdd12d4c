"""The hooks that a plugin may implement.

Registration hooks run once, when the plugin is loaded. Observation hooks run once per fit and once per batch,
never per user. An implementation may take any subset of a hook's arguments, without default values.
"""

from __future__ import annotations

from typing import Any, Protocol

from metarec_sdk.plugins.markers import hookspec
from metarec_sdk.plugins.request import RankRequest
from metarec_sdk.types import TopK


class Factory(Protocol):
    """Builds a component from JSON-able keyword arguments that all have defaults."""

    def __call__(self, **params: Any) -> Any: ...


class Register(Protocol):
    """What a registration hook is given."""

    def __call__(self, name: str, target: Factory | type | str, *, summary: str = "") -> None:
        """Offer a component under ``plugin/name``.

        ``target`` is a class or function, or ``"module:attribute"``, which is imported only when a user
        selects the component. ``summary`` is one line for ``metarec plugins list``.

        Raises `metarec_sdk.errors.PluginError` for a name that isn't lower-case words joined by hyphens, for
        a name given twice, and for a target of another form.
        """


@hookspec
def metarec_register_backbones(register: Register) -> None:
    """Offer backbones (`metarec_sdk.protocols.Backbone`)."""


@hookspec
def metarec_register_clusterers(register: Register) -> None:
    """Offer clusterers (`metarec_sdk.protocols.Clusterer`)."""


@hookspec
def metarec_register_meta_learners(register: Register) -> None:
    """Offer meta-learners (`metarec_sdk.protocols.MetaLearner`)."""


@hookspec
def metarec_register_heads(register: Register) -> None:
    """Offer heads (`metarec_sdk.protocols.Head`)."""


@hookspec
def metarec_register_item_item_members(register: Register) -> None:
    """Offer item-item members (`metarec_sdk.protocols.ItemItemMember`)."""


@hookspec
def metarec_register_feedback_models(register: Register) -> None:
    """Offer feedback models (`metarec_sdk.protocols.FeedbackModel`)."""


@hookspec
def metarec_register_behaviour_models(register: Register) -> None:
    """Offer behaviour models (`metarec_sdk.protocols.BehaviourModel`)."""


@hookspec
def metarec_register_content_encoders(register: Register) -> None:
    """Offer content encoders (`metarec_sdk.protocols.ContentEncoder`)."""


@hookspec
def metarec_register_rerankers(register: Register) -> None:
    """Offer rerankers (`metarec_sdk.protocols.Reranker`)."""


@hookspec
def metarec_register_rules(register: Register) -> None:
    """Offer hard rules (`metarec_sdk.protocols.Rule`)."""


@hookspec
def metarec_fit_finished(report: Any) -> None:
    """A fit, update or refit has published a generation; ``report`` is its report."""


@hookspec
def metarec_batch_ranked(request: RankRequest, result: TopK, elapsed_ns: int) -> None:
    """A batch has been ranked. The arrays of both are read-only; ``elapsed_ns`` is wall-clock time."""
