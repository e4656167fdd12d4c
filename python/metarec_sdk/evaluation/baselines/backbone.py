"""A backbone on the support alone: what personalisation has to beat."""

from __future__ import annotations

from metarec_sdk.ranking import ItemIndex
from metarec_sdk.types import Backbone, Histories, TopK


class BackboneZeroShot:
    """Ranks by ``⟨encode(history), e_i⟩`` of a fitted backbone; nothing is adapted."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._index = ItemIndex(backbone.item_matrix())

    def rank(self, histories: Histories, k: int) -> TopK:
        """The k items that the backbone expects next, without those of the history."""
        return self._index.topk(self._backbone.encode(histories), k, exclude=histories)
