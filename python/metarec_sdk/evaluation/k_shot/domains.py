"""Two domains of one shop: the same purchase listed in both, and people seen once in each."""

from __future__ import annotations

import numpy as np
import polars as pl

LEAST_COMMON = 2
LEAST_OVERLAP = 0.5
"""Common buyers, and their share of all buyers of either, from which on two items are taken for one. Where
one domain's people are shuffled, hardly a pair is so alike."""


def in_domain(frame: pl.DataFrame, domain: str) -> pl.DataFrame:
    """The rows whose item is of the domain: what stands before the slash of its id."""
    return frame.filter(pl.col("item_id").str.starts_with(f"{domain}/"))


def twins(frame: pl.DataFrame, domains: tuple[str, str]) -> list[str]:
    """Ids of the items of the second domain that have the buyers of an item of the first.

    Ids are numbered by domain, so that a product listed in both can only be told by who bought it: at least
    `LEAST_COMMON` people did, and they are `LEAST_OVERLAP` of all who bought either. A product that one
    person bought can't be told.
    """
    from scipy.sparse import csr_matrix

    pairs = frame.select("user_id", "item_id").unique()
    people = pairs["user_id"].unique().sort()
    tables, names = [], []
    for domain in domains:
        part = in_domain(pairs, domain)
        ids = part["item_id"].unique().sort()
        place = (
            people.search_sorted(part["user_id"]).to_numpy(),
            ids.search_sorted(part["item_id"]).to_numpy(),
        )
        tables.append(csr_matrix((np.ones(part.height), place), (len(people), len(ids))))
        names.append(ids)
    common = (tables[0].T @ tables[1]).tocoo()
    buyers = [np.asarray(table.sum(0)).ravel() for table in tables]
    either = buyers[0][common.row] + buyers[1][common.col] - common.data
    alike = (common.data >= LEAST_COMMON) & (common.data >= LEAST_OVERLAP * either)
    found: list[str] = names[1].gather(np.unique(common.col[alike])).to_list()
    return found


def apart(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with a person of each domain as somebody of their own: ``<user>@<domain>``."""
    domain = pl.col("item_id").str.split("/").list.first()
    return frame.with_columns(user_id=pl.concat_str(pl.col("user_id").cast(pl.String), domain, separator="@"))
