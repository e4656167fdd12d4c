"""Exact top-K by inner product, with filters and boosts: the one scoring path of the package.

`ApproximateIndex` is for those who ask for it; nothing in the package uses it.
`Stability: provisional`.
"""

from metarec_sdk.ranking.approximate import ApproximateIndex
from metarec_sdk.ranking.item_index import MAX_K, Boosts, ItemIndex, Rows

__all__ = ["MAX_K", "ApproximateIndex", "Boosts", "ItemIndex", "Rows"]
