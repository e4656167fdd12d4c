"""Exact top-K by inner product, with filters and boosts: the one scoring path of the package."""

from metarec_sdk.ranking.item_index import MAX_K, Boosts, ItemIndex, Rows

__all__ = ["MAX_K", "Boosts", "ItemIndex", "Rows"]
