"""A sequence backbone inside the whole stack: fitted, asked, saved and loaded."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch")

import metarec_sdk as mr

N_ITEMS = 30


def walks(users: int = 120, length: int = 12) -> pl.DataFrame:
    """Everybody walks around the catalogue from a random start, an hour a step."""
    starts = np.random.default_rng(0).integers(N_ITEMS, size=users)
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(users), length),
            "item_id": ((starts[:, None] + np.arange(length)) % N_ITEMS).ravel() + 1000,
            "timestamp": np.tile(np.arange(length) * 3600, users) + 1_600_000_000,
        }
    )


@pytest.mark.parametrize("model", ["gru4rec", "hstu"])
def test_recommendations_survive_saving(model: str, tmp_path) -> None:
    rec = mr.Recommender(
        backbone=f"sequence/{model}",
        params={"backbone": {"width": 16, "epochs": 8, "learning_rate": 0.01, "device": "cpu"}},
        clusterer="none",
        meta_learner="none",
        seed=3,
    )
    rec.fit(mr.read_interactions(walks()))
    before = rec.recommend([0, 1, 2], k=5)
    unseen = rec.recommend(history=[[1003, 1004], []], k=5)
    assert unseen.height == 10
    assert 1005 in unseen["item_id"].to_list()[:5]
    rec.save(tmp_path / "model")
    loaded = mr.load(tmp_path / "model")
    assert loaded.recommend([0, 1, 2], k=5).equals(before)
    assert loaded.recommend(history=[[1003, 1004], []], k=5).equals(unseen)
