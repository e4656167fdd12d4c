"""The small Open Bandit Dataset out of the obp wheel."""

from __future__ import annotations

from io import BytesIO

import polars as pl

from metarec_sdk.data.datasets.dataset import Dataset
from metarec_sdk.data.datasets.wheels import Wheel, read_members
from metarec_sdk.data.reading import read_interactions

WHEEL = Wheel("obp", "0.4.1", "87dec9caf4283c25ab13036532e0a24566f1c7bdcad1653a8ded43b2f5ef8208")
TERMS = (
    "Open Bandit Dataset (small) by ZOZO, in the Apache-2.0 wheel obp 0.4.1; cite Saito, Aihara, Matsutani & "
    "Narita, Open Bandit Dataset and Pipeline, NeurIPS Datasets and Benchmarks 2021. The full data are CC BY "
    "4.0: https://research.zozo.com/data.html"
)

POLICIES = ("random", "bts")
CAMPAIGNS = ("all", "men", "women")
_FEATURES = [f"user_feature_{i}" for i in range(4)]


def load_open_bandit_small() -> Dataset:
    """10,000 logged rounds for each of two policies and three campaigns, with position and propensity.

    The source has no user ids. ``user_id`` is the combination of the four user features, for example
    ``0-3-1-6``: a segment, not a person. ``item_id`` is ``campaign/number``, because campaigns number their
    items alike. ``event_type`` is ``click``, or ``view`` for a round without one. Further columns:
    ``position`` (1 … 3), ``propensity`` of the shown item, ``click``, ``user_feature_0`` … ``3`` (codes),
    ``campaign``, ``policy``. Items: ``item_id``, ``campaign``, ``item_feature_0`` (number),
    ``item_feature_1`` … ``3`` (hashes, which differ from policy to policy in the source; those of the random
    policy are given).
    """
    paths = [
        f"obp/dataset/obd/{policy}/{campaign}/{file}.csv"
        for policy in POLICIES
        for campaign in CAMPAIGNS
        for file in (campaign, "item_context")
    ]
    content = read_members(WHEEL, paths, TERMS)
    rounds, items = [], []
    for policy in POLICIES:
        for campaign in CAMPAIGNS:
            folder = f"obp/dataset/obd/{policy}/{campaign}"
            marks = (pl.lit(campaign).alias("campaign"), pl.lit(policy).alias("policy"))
            rounds.append(_rounds(content[f"{folder}/{campaign}.csv"]).with_columns(*marks))
            items.append(_items(content[f"{folder}/item_context.csv"], campaign))
    frame = pl.concat(rounds).with_columns(pl.col(*_FEATURES).rank("dense").cast(pl.Int64) - 1)
    frame = frame.with_columns(
        user_id=pl.concat_str(*_FEATURES, separator="-"),
        item_id=pl.format("{}/{}", "campaign", "item_id"),
        event_type=pl.when(pl.col("click") == 1).then(pl.lit("click")).otherwise(pl.lit("view")),
    )
    log = read_interactions(frame, event="event_type")
    return Dataset("open-bandit-small", log, pl.concat(items[: len(CAMPAIGNS)]), None, TERMS)


def _rounds(content: bytes) -> pl.DataFrame:
    return pl.read_csv(
        BytesIO(content),
        columns=["timestamp", "item_id", "position", "click", "propensity_score", *_FEATURES],
        schema_overrides={"timestamp": pl.String},
    ).rename({"propensity_score": "propensity"})


def _items(content: bytes, campaign: str) -> pl.DataFrame:
    columns = ["item_id", *(f"item_feature_{i}" for i in range(4))]
    items = pl.read_csv(BytesIO(content), columns=columns)
    return items.select(
        pl.format("{}/{}", pl.lit(campaign), "item_id").alias("item_id"),
        pl.lit(campaign).alias("campaign"),
        *columns[1:],
    )
