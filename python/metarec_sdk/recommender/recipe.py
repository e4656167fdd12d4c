"""What a recommender is made of: component names, parameters and limits, as plain data."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Recipe(BaseModel):
    """The configuration of a `Recommender`; stored in every generation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = "sasrec"
    """Name of the backbone."""
    clusterer: str = "kmeans"
    """Name of the clusterer that groups users into tasks."""
    meta_learner: str = "closed-form"
    """Name of the meta-learner."""
    head: str = "natpar"
    """Name of the per-user head."""
    item_item: str = "item-knn"
    """Name of the item-item member."""
    feedback: str = "linear"
    """Name of the feedback model."""
    behaviour: str = "counts"
    """Name of the behaviour model that describes users to the clusterer."""
    content: str = "table"
    """Name of the content encoder that places items without events."""
    reranker: str | None = None
    """Name of the reranker; None shows the exact order."""
    rule: str | None = None
    """Name of the hard rule on lists; None for none."""
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Keyword arguments by component kind, for example ``{"backbone": {"width": 128}}``."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of everything random."""
    order: Literal["auto", "time", "none"] = "auto"
    """What the order of a user's events means: ``time``, or nothing. See
    `metarec_sdk.recommender.order`."""
    history_limit: int = Field(default=200, ge=1, le=10_000)
    """Latest events of a history that personalise; older ones only keep items from coming back."""
    max_tasks: int = Field(default=4, ge=1, le=4096)
    """The largest number of found tasks that is tried."""
    min_tasks: int = Field(default=1, ge=1, le=4096)
    """The smallest number of tasks that is served; above 1 tasks needn't prove themselves against one."""
    min_task_size: int = Field(default=50, ge=1)
    """Users below which a task is served by its parent."""

    def kind_params(self, kind: str) -> dict[str, Any]:
        """Keyword arguments of one component kind."""
        return dict(self.params.get(kind, {}))
