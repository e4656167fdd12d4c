"""The built-in components, registered by the same hooks as everybody's.

Targets are strings, so that nothing is imported before it is selected.
"""

from __future__ import annotations

from metarec_sdk.plugins.hookspecs import Register
from metarec_sdk.plugins.markers import hookimpl


@hookimpl
def metarec_register_backbones(register: Register) -> None:
    register(
        "sasrec", "metarec_sdk.backbones.sasrec:SASRec", summary="Self-attention over the sequence (torch)"
    )
    register("factors", "metarec_sdk.backbones.factors:Factors", summary="Implicit alternating least squares")


@hookimpl
def metarec_register_clusterers(register: Register) -> None:
    register("kmeans", "metarec_sdk.tasks.kmeans:KMeansTasks", summary="k-means on vectors and behaviour")
    register("column", "metarec_sdk.tasks.column:ColumnTasks", summary="Known tasks from a column")
    register("none", "metarec_sdk.tasks.none:OneTask", summary="Everybody in one task")


@hookimpl
def metarec_register_meta_learners(register: Register) -> None:
    register(
        "closed-form",
        "metarec_sdk.adapters.closed_form:ClosedForm",
        summary="Low-rank task adapters by hierarchical shrinkage",
    )
    register(
        "reptile", "metarec_sdk.adapters.reptile:Reptile", summary="First-order meta-learning of adapters"
    )
    register("maml", "metarec_sdk.adapters.maml:Maml", summary="Second-order meta-learning of adapters")
    register("fomaml", "metarec_sdk.adapters.fomaml:Fomaml", summary="MAML without second derivatives")
    register("anil", "metarec_sdk.adapters.anil:Anil", summary="MAML in which few coefficients adapt")
    register("none", "metarec_sdk.adapters.none:NoMetaLearning", summary="No task adapters")


@hookimpl
def metarec_register_heads(register: Register) -> None:
    register("natpar", "metarec_sdk.heads.natpar:Natpar", summary="Natural-parameter sums per user")
    register("ridge", "metarec_sdk.heads.ridge:Ridge", summary="Ridge regression per user")


@hookimpl
def metarec_register_feedback_models(register: Register) -> None:
    register(
        "linear", "metarec_sdk.feedback.linear:LinearFeedback", summary="A weight per event type, decayed"
    )


@hookimpl
def metarec_register_item_item_members(register: Register) -> None:
    register("item-knn", "metarec_sdk.heads.item_knn:ItemKNN", summary="Shrunk cosine between items")


@hookimpl
def metarec_register_behaviour_models(register: Register) -> None:
    register("counts", "metarec_sdk.data.counts:Counts", summary="Counts and rates of what people do")


@hookimpl
def metarec_register_content_encoders(register: Register) -> None:
    register("table", "metarec_sdk.data.table_content:TableContent", summary="Categories and numbers")


@hookimpl
def metarec_register_rerankers(register: Register) -> None:
    register("mmr", "metarec_sdk.ranking.mmr:MMR", summary="Diverse lists by maximal marginal relevance")


@hookimpl
def metarec_register_rules(register: Register) -> None:
    register("quota", "metarec_sdk.ranking.quota:Quota", summary="At most so many items of one value")
