"""MovieLens 100k out of the recbole wheel."""

from __future__ import annotations

import polars as pl

from metarec_sdk.data.datasets.dataset import Dataset
from metarec_sdk.data.datasets.wheels import Wheel, read_members
from metarec_sdk.data.reading import read_interactions

WHEEL = Wheel("recbole", "1.2.1", "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407")
TERMS = (
    "MovieLens 100k by GroupLens, University of Minnesota: free for research with acknowledgement (Harper & "
    "Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015); no endorsement implied; no redistribution and no "
    "commercial use without permission. https://grouplens.org/datasets/movielens/100k/"
)

_FOLDER = "recbole/dataset_example/ml-100k"


def load_movielens_100k() -> Dataset:
    """100,000 ratings (1 … 5) of 1,682 films by 943 people, 1997-09 … 1998-04.

    Items: ``item_id``, ``title``, ``year``, ``genres`` (list). Users: ``user_id``, ``age``, ``gender``,
    ``occupation``, ``zip_code``.
    """
    files = {kind: f"{_FOLDER}/ml-100k.{kind}" for kind in ("inter", "item", "user")}
    content = read_members(WHEEL, list(files.values()), TERMS)
    ratings, items, users = (_table(content[files[kind]]) for kind in ("inter", "item", "user"))
    log = read_interactions(
        ratings.with_columns(pl.col("user_id", "item_id", "timestamp").cast(pl.Int64)),
        value="rating",
        default_event="rating",
    )
    items = items.select(
        pl.col("item_id").cast(pl.Int64),
        title="movie_title",
        year=pl.col("release_year").cast(pl.Int32, strict=False),
        genres=pl.col("class").str.split(" "),
    )
    users = users.select(
        pl.col("user_id").cast(pl.Int64), pl.col("age").cast(pl.Int32), "gender", "occupation", "zip_code"
    )
    return Dataset("movielens-100k", log, items, users, TERMS)


def _table(content: bytes) -> pl.DataFrame:
    """A tab-separated file whose header is ``name:type``, all columns as text."""
    frame = pl.read_csv(content, separator="\t", infer_schema=False, quote_char=None)
    return frame.rename({column: column.partition(":")[0] for column in frame.columns})
