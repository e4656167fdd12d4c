"""Vectors for items that joined after the members were trained: from content, else from their company.

An item without a trained row starts at a ridge regression from content features to trained vectors
(Gantner et al. 2010, "Learning attribute-to-feature mappings for cold-start recommendations") where the
items' table describes it. Without content it starts at the shrunk mean of what the same people took, which
for a single event is close to the mean of the catalogue: its popularity then decides.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from metarec_sdk.data import Vocabulary
from metarec_sdk.protocols import ContentEncoder
from metarec_sdk.types import Float32, Histories

_SHRINKAGE = 10.0
_RIDGE = 10.0


def new_item_vectors(
    vectors: Float32,
    histories: Histories,
    items: Vocabulary,
    item_table: pl.DataFrame | None,
    content_encoder: ContentEncoder,
) -> Float32:
    """f32[j, w], rows for the j items of the vocabulary beyond the trained ones.

    ``vectors`` f32[n, w] are the trained rows, ``histories`` all histories over the extended catalogue.
    """
    trained, total = len(vectors), len(items)
    if trained == total:
        return np.zeros((0, vectors.shape[1]), np.float32)
    start = _from_company(vectors, histories, total)
    if item_table is None:
        return start
    content = content_encoder.encode(catalogue(items, item_table))
    described = np.asarray(content.any(axis=1))
    if described[:trained].sum() < 2 or not described[trained:].any():
        return start
    from sklearn.linear_model import Ridge

    rows = np.flatnonzero(described[:trained])
    model = Ridge(alpha=_RIDGE).fit(content[rows], vectors[rows])
    start[described[trained:]] = model.predict(content[trained:][described[trained:]])
    return start


def _from_company(vectors: Float32, histories: Histories, total: int) -> Float32:
    """Mean vector of the trained items in the histories that hold each new item, shrunk towards the mean."""
    trained = len(vectors)
    row = np.repeat(np.arange(len(histories)), histories.lengths)
    old = histories.items < trained
    counts = np.bincount(histories.items[old], minlength=trained)
    mean = (counts @ vectors) / max(int(counts.sum()), 1)
    sums = np.zeros((len(histories), vectors.shape[1]), np.float64)
    np.add.at(sums, row[old], vectors[histories.items[old]])
    sizes = np.bincount(row[old], minlength=len(histories))
    company = np.zeros((total - trained, vectors.shape[1]), np.float64)
    weight = np.zeros(total - trained)
    pairs = np.unique(np.stack([row[~old], histories.items[~old] - trained]), axis=1)
    useful = pairs[:, sizes[pairs[0]] > 0]
    np.add.at(company, useful[1], sums[useful[0]] / sizes[useful[0]][:, None])
    np.add.at(weight, useful[1], 1.0)
    shrunk = (company + _SHRINKAGE * mean) / (weight + _SHRINKAGE)[:, None]
    return np.ascontiguousarray(shrunk, np.float32)


def catalogue(items: Vocabulary, item_table: pl.DataFrame | None) -> pl.DataFrame:
    """n rows in the order of the vocabulary: ``item_id`` and the table's columns, null where unlisted."""
    ids = pl.DataFrame({"item_id": items.ids})
    if item_table is None:
        return ids
    first = item_table.unique("item_id", keep="first", maintain_order=True)
    return ids.join(first, on="item_id", how="left", maintain_order="left")
