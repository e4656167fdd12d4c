"""The tree of variables that explains their joint distribution best, without edges the data can't support."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from sklearn.metrics import mutual_info_score

from metarec_sdk.types import Int32


def parents(codes: Int32, sizes: Sequence[int]) -> Int32:
    """i32[a], the parent of each variable of codes i32[e, a], -1 for a root; roots come first in their tree.

    Chow & Liu, "Approximating discrete probability distributions with dependence trees" (IEEE Transactions on
    Information Theory 1968): the spanning tree of most mutual information. An edge must be worth its
    parameters by BIC, which makes it a forest (Edwards, de Abreu & Labouriau, BMC Bioinformatics 2010).
    """
    e, a = codes.shape
    gain = np.zeros((a, a))
    for one in range(a):
        for other in range(one + 1, a):
            table = np.bincount(
                codes[:, one] * sizes[other] + codes[:, other], minlength=sizes[one] * sizes[other]
            ).reshape(sizes[one], sizes[other])
            shown = (table.sum(1) > 0).sum(), (table.sum(0) > 0).sum()
            information = e * mutual_info_score(None, None, contingency=table)
            gain[one, other] = max(information - 0.5 * np.log(e) * (shown[0] - 1) * (shown[1] - 1), 0.0)
    tree = minimum_spanning_tree(-gain)  # an entry of 0 is no edge
    found = np.full(a, -2, np.int32)
    for root in range(a):
        if found[root] == -2:
            order, before = breadth_first_order(tree, root, directed=False)
            found[order] = before[order]
            found[root] = -1
    return found
